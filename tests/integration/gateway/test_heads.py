"""A head that is too large is refused while it comes, and its sender gets the answer."""

from __future__ import annotations

import json
import re
import socket
import threading
from contextlib import suppress
from urllib.parse import urlsplit

import pytest

import oo.testing
from oo.gateway.http_server.head_size import MAX_URL
from tests.support.waiting import PATIENCE

GET = b"GET /health HTTP/1.1\r\nHost: x\r\n"
POST = b"POST /health HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
CHUNKED = b"POST /health HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
FILL = b"X: " + b"x" * 1000 + b"\r\n"


def exchanged(url: str, *sent: bytes) -> bytes:
    """All that comes back until the gateway ends the connection."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname or "", parts.port or 0), PATIENCE) as sock:

        def send() -> None:
            with suppress(OSError):
                for piece in sent:
                    sock.sendall(piece)

        sender = threading.Thread(target=send)
        sender.start()
        got = b""
        with suppress(OSError):
            while data := sock.recv(1 << 16):
                got += data
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
        sender.join(PATIENCE)
    return got


@pytest.mark.parametrize(
    ("sent", "statuses"),
    [
        ([GET, FILL * 40, b"\r\n"], [b"431"]),
        ([GET, *[FILL] * 10_000], [b"431"]),
        ([GET + FILL * 40 + b"Connection: close\r\n\r\n"], [b"431"]),
        ([b"GET /" + b"a" * MAX_URL + b" HTTP/1.1\r\n\r\n"], [b"414"]),
        ([b"GET /", *[b"a" * 1000] * 5000], [b"414"]),
        ([GET + b"\r\n" + GET + FILL * 40, FILL * 40], [b"200", b"431"]),
        ([POST + GET + FILL * 40, FILL * 40], [b"404", b"431"]),
        ([GET + b"\r\n" + CHUNKED + GET, *[FILL] * 200], [b"200", b"404", b"431"]),
        ([(GET + FILL + b"\r\n") * 60 + POST + GET, *[FILL] * 200], [b"200"] * 60 + [b"404", b"431"]),
        ([GET + FILL * 30 + b"Connection: close\r\n\r\n"], [b"200"]),
    ],
    ids=[
        "in pieces", "endless", "at once", "a URL", "an endless URL", "behind another", "behind a body",
        "behind chunks", "many in a row", "the largest",
    ],
)  # fmt: skip
def test_a_large_head_is_refused(gateway: oo.testing.LocalGateway, sent: list[bytes], statuses: list[bytes]) -> None:
    got = exchanged(gateway.url, *sent)
    assert re.findall(rb"HTTP/1\.[01] (\d+) ", got) == statuses
    assert (b"has more than" in got) is (statuses[-1] in (b"414", b"431"))
    assert got.count(b"X-Request-Id") == len(statuses)


PROXIED = b"GET /api/proxy/v1/x HTTP/1.1\r\nHost: x\r\n"
LONG = b"a" * MAX_URL


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        ([PROXIED + FILL * 40], 431, "request_too_large"),
        ([PROXIED, *[FILL] * 200], 431, "request_too_large"),
        ([b"GET /api/proxy HTTP/1.1\r\n", FILL * 40], 431, "request_too_large"),
        ([b"GET /api/proxy/" + LONG + b" HTTP/1.1\r\n\r\n"], 414, "request_too_large"),
        ([b"GET /api/proxy/", *[b"a" * 1000] * 200], 414, "request_too_large"),
        ([b"GET http://any.example/api/proxy/" + LONG + b" HTTP/1.1\r\n\r\n"], 414, "request_too_large"),
        ([b"GET http://api.example/v1/" + LONG + b" HTTP/1.1\r\n\r\n"], 414, "request_too_large"),
        ([PROXIED + b"no field\r\n\r\n"], 400, "bad_request"),
        ([GET + b"\r\n" + PROXIED + FILL * 40], 431, "request_too_large"),
        ([PROXIED + b"\r\n" + GET + FILL * 40], 431, None),
        ([GET + FILL * 40], 431, None),
        ([GET + b"no field\r\n\r\n"], 400, None),
        ([b"GET /v1/api/proxy/" + LONG + b" HTTP/1.1\r\n\r\n"], 414, None),
        ([b"GET http://any.example/health?" + LONG + b" HTTP/1.1\r\n\r\n"], 414, None),
        ([b"\x16\x03\x01 /api/proxy/"], 400, "bad_request"),
        ([b"GTE /api/proxy/v1/x HTTP/1.1\r\nHost: x\r\n\r\n"], 501, "not_implemented"),
        ([GET + b"\r\nGTE /health HTTP/1.1\r\nHost: x\r\n\r\n"], 501, None),
        ([b"FOO bar baz\r\n\r\n"], 400, None),
        ([b"nonsense\r\n\r\n"], 400, None),
    ],
    ids=[
        "a head", "a head in pieces", "no slash", "a URL", "an endless URL", "an absolute URL", "another's URL",
        "no HTTP", "a head behind another", "another's head", "no call", "no HTTP of no call",
        "a path like it", "an absolute URL of no call", "no method", "an unknown method",
        "an unknown method of no call", "a line of words", "nonsense",
    ],
)  # fmt: skip
def test_what_is_refused_unread_has_the_shape_of_where_it_was_sent(
    gateway: oo.testing.LocalGateway, sent: list[bytes], status: int, code: str | None
) -> None:
    _, found, last = re.split(rb"HTTP/1\.[01] (\d+) ", exchanged(gateway.url, *sent))[-3:]
    said = json.loads(last.partition(b"\r\n\r\n")[2])["error"]
    assert int(found) == status
    kind = "api_error" if status == 501 else "invalid_request_error"
    assert (said["type"], said["code"]) == (kind, code) if code else isinstance(said, str)
    assert ("method" in str(said)) is (status == 501)
    assert b"aaaa" not in last
