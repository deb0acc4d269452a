"""RequestsTransport alone: what it hands to requests' adapter, what it makes of its errors, forks and threads."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import requests
import responses
import urllib3

import oo
from tests.support.faults import BODY, GOOD, READ, SECRET, SILENCE, answer, serving
from tests.support.probing import PROBE, TOKEN, failure
from tests.support.waiting import PATIENCE

URL = "http://localhost:3001"


@responses.activate
def test_the_adapter_is_handed_one_prepared_request() -> None:
    responses.post(f"{URL}/api/proxy/v1/chat", json={"ok": True})
    with oo.Client(URL, timeout=7) as client:
        sent = client.proxy("v1/chat?a=b", TOKEN, payload={"a": 1}, headers={"X-Team": "blue"})
    assert sent == {"ok": True}
    (call,) = responses.calls
    assert (call.request.method, call.request.url) == ("POST", f"{URL}/api/proxy/v1/chat?a=b")
    assert call.request.body == b'{"a":1}'
    assert call.request.headers["Authorization"] == f"Bearer {TOKEN}"
    assert call.request.headers["X-Team"] == "blue"
    assert call.request.headers["Content-Length"] == "7"
    assert call.request.headers["Accept-Encoding"] == "gzip, deflate"
    assert "Cookie" not in call.request.headers
    arguments = call.request.req_kwargs  # type: ignore[attr-defined]  # set by responses
    assert 6 < arguments.pop("timeout") <= 7
    assert arguments == {"stream": True, "verify": True, "proxies": None}


@responses.activate
@pytest.mark.parametrize("status", [400, 403, 404, 429, 500, 503])
def test_a_status_is_left_to_the_chain(status: int) -> None:
    responses.get(f"{URL}/api/secret", json={"error": "no"}, status=status, headers={"Retry-After": "3"})
    with oo.Client(URL) as client:
        error = failure(PROBE["secret"][1], client)
    assert (error.reason, error.status, error.retry_after) == ("status", status, 3.0)


FOREIGN: list[tuple[Exception, str]] = [
    (requests.ConnectionError(f"no {TOKEN}"), "connection"),
    (requests.exceptions.ChunkedEncodingError(f"no {TOKEN}"), "connection"),
    (requests.exceptions.ProxyError(f"no {TOKEN}"), "connection"),
    (requests.ConnectTimeout(f"no {TOKEN}"), "timeout"),
    (requests.ReadTimeout(f"no {TOKEN}"), "timeout"),
    (requests.exceptions.InvalidURL(f"no {TOKEN}"), "protocol"),
    (requests.exceptions.InvalidHeader(f"no {TOKEN}"), "protocol"),
    (urllib3.exceptions.ProtocolError(f"no {TOKEN}"), "connection"),
    (urllib3.exceptions.LocationParseError(f"no {TOKEN}"), "protocol"),
    (ConnectionResetError(104, f"no {TOKEN}"), "connection"),
    (TimeoutError(f"no {TOKEN}"), "timeout"),
]


@responses.activate
@pytest.mark.parametrize(("foreign", "reason"), FOREIGN, ids=lambda each: type(each).__name__)
def test_a_foreign_error_stays_at_the_edge(foreign: Exception, reason: str) -> None:
    responses.get(f"{URL}/api/secret", body=foreign)
    with oo.Client(URL) as client:
        error = failure(PROBE["secret"][1], client)
    assert (error.reason, error.retryable) == (reason, reason != "protocol")


@responses.activate
def test_an_error_of_nobody_s_making_is_not_swallowed() -> None:
    responses.get(f"{URL}/api/secret", body=KeyError("a bug"))
    with oo.Client(URL) as client, pytest.raises(KeyError):
        client.get_secret(TOKEN)


@pytest.mark.parametrize(
    "field",
    [
        b"Content-Type: application/json; charset",
        b"Set-Cookie: a=b; Max-Age=" + b"9" * 4200,
        b"Set-Cookie: a=b; expires=Mon, 01 Jan " + b"9" * 5000 + b" 00:00:00 GMT",
    ],
    ids=["charset", "age", "year"],
)
def test_a_header_that_requests_stumbles_over_is_not_read(field: bytes) -> None:
    with serving([READ, answer(BODY, field)]) as server, oo.Client(server.url) as client:
        assert client.get_secret(TOKEN) == SECRET


@pytest.mark.parametrize("good", [answer(BODY, b"X-Folded: a\r\n b", b"X-Next: c"), GOOD.replace(b"\r\n", b"\n")])
def test_old_ways_of_writing_headers_are_read(good: bytes) -> None:
    # As RFC 9112 asks (2.2 and 5.2); aiohttp does so too, but not in Python's development mode.
    with serving([READ, good]) as server, oo.Client(server.url) as client:
        assert [client.get_secret(TOKEN), client.get_secret(TOKEN)] == [SECRET, SECRET]
        assert server.connections == 1


def test_64_threads_share_one_transport_and_get_their_own_answers() -> None:
    def echo(request: bytes) -> bytes:
        token = request.split(b"Bearer ")[1].split(b"\r\n")[0]
        return answer(b'{"value": "%b"}' % token)

    with serving(reply=echo) as server, oo.Client(server.url) as client:
        start, wrong = threading.Barrier(64), []

        def call(number: int) -> None:
            start.wait(PATIENCE)
            tokens = [f"token-{number}-{turn}" for turn in range(5)]
            wrong.extend(token for token in tokens if client.get_secret(token) != token)

        threads = [threading.Thread(target=call, args=(number,), daemon=True) for number in range(64)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        assert wrong == []
        assert len(server.requests) == 320
        assert server.connections <= 64


def test_the_time_of_one_thread_is_not_that_of_another() -> None:
    with serving([READ, SILENCE]) as server, oo.Client(server.url, timeout=1) as client:
        errors: list[oo.DoubleOError] = []
        slow = threading.Thread(target=lambda: errors.append(failure(PROBE["secret"][1], client)), daemon=True)
        slow.start()
        assert server.until(requests=1)
        assert [client.get_secret(TOKEN) for _ in range(50)] == [SECRET] * 50
        slow.join(PATIENCE)
        assert [error.reason for error in errors] == ["timeout"]


def test_closing_gives_the_connections_back() -> None:
    with serving() as server:
        client = oo.Client(server.url)
        client.get_secret(TOKEN)
        assert (server.connections, server.left) == (1, 0)
        client.close()
        assert server.until(left=1)


FORK = """
import json, os, sys
import oo

client = oo.Client(sys.argv[1])
answers = [client.get_secret("before")]
reader, writer = os.pipe()
pid = os.fork()
if pid == 0:
    found = [client.get_secret(f"child-{n}") for n in range(20)]
    os.write(writer, json.dumps(found).encode())
    os._exit(0)
answers += [client.get_secret(f"parent-{n}") for n in range(20)]
os.close(writer)
_, status = os.waitpid(pid, 0)
with open(reader) as pipe:
    child = json.load(pipe)
client.close()
print(json.dumps({"parent": answers, "child": child, "status": status}))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs os.fork")
def test_a_warm_pool_survives_a_fork_in_both_processes() -> None:
    def echo(request: bytes) -> bytes:
        return answer(b'{"value": "%b"}' % request.split(b"Bearer ")[1].split(b"\r\n")[0])

    with serving(reply=echo) as server:
        ran = subprocess.run(
            [sys.executable, "-W", "error", "-c", FORK, server.url],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            cwd=Path(oo.__file__).parents[1],
        )
        assert (ran.returncode, ran.stderr) == (0, "")
        assert json.loads(ran.stdout) == {
            "parent": ["before", *(f"parent-{n}" for n in range(20))],
            "child": [f"child-{n}" for n in range(20)],
            "status": 0,
        }
        assert (server.connections, len(server.requests)) == (2, 41)
