"""Every fault, in both worlds: the same error, of ours, after one request, and a client that still works."""

from __future__ import annotations

import gzip
import socket
import zlib
from typing import Any, NamedTuple

import pytest

from tests.conftest import World
from tests.faults import (
    BODY,
    CLOSE,
    GOOD,
    READ,
    RESET,
    SECRET,
    SILENCE,
    Drip,
    Endless,
    Script,
    answer,
    head,
    nobody,
    serving,
)

from .probing import CHUNK, END, LENGTH, LONG, PROBE, TOKEN, ZIPPED, chunked, encoded, failure

BRIEF = 0.1  # seconds: the timeout of calls that run into it


class Fault(NamedTuple):
    reason: str
    steps: Script
    timeout: float = 5.0

    @property
    def retryable(self) -> bool:
        return self.reason in ("connection", "timeout")


def bare_deflate(data: bytes) -> bytes:
    press = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return press.compress(data) + press.flush()


def connection(*steps: Any) -> Fault:
    return Fault("connection", [READ, *steps])


def protocol(*steps: Any) -> Fault:
    return Fault("protocol", [READ, *steps])


FAULTS: dict[str, Fault] = {
    "reset before the headers": connection(RESET),
    "closed before the headers": connection(CLOSE),
    "reset within the headers": connection(GOOD[:25], 0.02, RESET),
    "reset within the body": connection(answer(LONG)[:1500], 0.02, RESET),
    "reset at the end of a body without a length": connection(head() + BODY, 0.02, RESET),
    "end within the status line": connection(b"HTTP/1.1 20", CLOSE),
    "end after the status line": connection(b"HTTP/1.1 200 OK\r\n", CLOSE),
    "end within a header": connection(b"HTTP/1.1 200 OK\r\nContent-Le", CLOSE),
    "end between two headers": connection(b"HTTP/1.1 200 OK\r\n" + LENGTH + b"\r\n", CLOSE),
    "end after an interim answer": connection(b"HTTP/1.1 100 Continue\r\n\r\n", CLOSE),
    "cut inside JSON": connection(GOOD[:-9], CLOSE),
    "no body where one was told": connection(head(LENGTH), CLOSE),
    "a negative length": protocol(head(b"Content-Length: -5") + BODY),
    "two lengths": protocol(head(LENGTH, b"Content-Length: 7") + BODY),
    "two lengths in one list": protocol(head(b"Content-Length: 7, 8") + BODY),
    "one length twice": protocol(head(LENGTH, LENGTH) + BODY),
    "a length in words": protocol(head(b"Content-Length: seven") + BODY),
    "a length with a sign": protocol(head(b"Content-Length: +7") + BODY),
    "a length with an underscore": protocol(head(b"Content-Length: 1_7") + BODY),
    "a length in foreign digits": protocol(head(b"Content-Length: \xd9\xa1\xd9\xa7") + BODY),
    "a length of thirty digits": protocol(head(b"Content-Length: " + b"9" * 30) + BODY),
    "an empty length": protocol(head(b"Content-Length:") + BODY, CLOSE),
    "both framings": protocol(head(LENGTH, b"Transfer-Encoding: chunked") + CHUNK + END),
    "a transfer coding over chunks": protocol(head(b"Transfer-Encoding: gzip, chunked") + CHUNK + END),
    "a transfer coding without chunks": protocol(head(b"Transfer-Encoding: gzip") + BODY, CLOSE),
    "chunks twice": protocol(head(b"Transfer-Encoding: chunked, chunked") + CHUNK + END),
    "a chunk size in words": protocol(chunked(b"xyz\r\n" + CHUNK + END)),
    "a negative chunk size": protocol(chunked(b"-" + CHUNK + END)),
    "a chunk size with a prefix": protocol(chunked(b"0x" + CHUNK + END)),
    "a chunk size with a blank": protocol(chunked(b" " + CHUNK + END)),
    "no chunk size": protocol(chunked(b"\r\n" + CHUNK + END)),
    "a chunk size of forty digits": protocol(chunked(b"F" * 40 + b"\r\n" + CHUNK + END)),
    "a chunk longer than its size": protocol(chunked(b"5\r\n" + BODY + b"\r\n" + END)),
    "an end within a chunk": connection(chunked(CHUNK[:9]), CLOSE),
    "an end after a chunk": connection(chunked(CHUNK), CLOSE),
    "an end within a chunk size": connection(chunked(CHUNK + b"1"), CLOSE),
    "an end within the trailers": connection(chunked(CHUNK + b"0\r\nX-Trailer: "), CLOSE),
    "gzip that is none": protocol(encoded(b"gzip", BODY)),
    "gzip with a broken middle": protocol(encoded(b"gzip", ZIPPED[:500] + b"\xff" * 99 + ZIPPED[599:])),
    "gzip with a wrong checksum": protocol(encoded(b"gzip", ZIPPED[:-8] + b"\0\0\0\0" + ZIPPED[-4:])),
    "gzip with a tail": protocol(encoded(b"gzip", ZIPPED + b"tail")),
    "gzip cut short": connection(encoded(b"gzip", ZIPPED[:900])),
    "gzip without its checksum": connection(encoded(b"gzip", ZIPPED[:-6])),
    "gzip whose second member is cut short": connection(encoded(b"gzip", ZIPPED + ZIPPED[:900])),
    "deflate that is none": protocol(encoded(b"deflate", b"\xff" * 99)),
    "br": protocol(encoded(b"br", BODY)),
    "zstd": protocol(encoded(b"zstd", BODY)),
    "gzip twice": protocol(encoded(b"gzip, gzip", gzip.compress(ZIPPED))),
    "a header of 100 kB": protocol(answer(BODY, b"X-Long: " + b"a" * 100_000)),
    "a header without an end": protocol(b"HTTP/1.1 200 OK\r\nX-Long: ", Endless(b"a" * 4096)),
    "headers without an end": protocol(b"HTTP/1.1 200 OK\r\n", Endless(b"X-Many: 1\r\n" * 99)),
    "too many headers": protocol(answer(BODY, *[b"X-Many: 1"] * 100)),
    "a header without a colon": protocol(answer(BODY, b"neither a name nor a value")),
    "a header without a name": protocol(answer(BODY, b": value")),
    "a blank before the colon": protocol(answer(BODY, b"X-Blank : value")),
    "a NUL in a header": protocol(answer(BODY, b"X-Nul: a\0b")),
    "a CR in a header": protocol(answer(BODY, b"X-Cr: a\rb")),
    "a folded line before any header": protocol(GOOD.replace(b"OK\r\n", b"OK\r\n folded\r\n", 1)),
    "garbage for a status line": protocol(b"garbage\r\n\r\n"),
    "a status in words": protocol(answer(status=b"fine OK")),
    "a status of two digits": protocol(answer(status=b"99 Low")),
    "a status of four digits": protocol(answer(status=b"1000 High")),
    "a status of nought": protocol(answer(status=b"000 Nought")),
    "a status with a sign": protocol(answer(status=b"-200 OK")),
    "HTTP/0.9": protocol(BODY, CLOSE),
    "HTTP/0.9 with a line": protocol(BODY + b"\r\n", CLOSE),
    "HTTP/1.9": protocol(GOOD.replace(b"HTTP/1.1", b"HTTP/1.9")),
    "HTTP/2.0": protocol(GOOD.replace(b"HTTP/1.1", b"HTTP/2.0")),
    "another protocol": protocol(b"ICY 200 OK\r\n\r\n"),
    "a TLS alert": protocol(b"\x15\x03\x01\x00\x02\x02\x50", CLOSE),
    "silence": Fault("timeout", [READ, SILENCE], BRIEF),
    "silence within the headers": Fault("timeout", [READ, GOOD[:25], SILENCE], BRIEF),
    "silence within the body": Fault("timeout", [READ, GOOD[:-9], SILENCE], BRIEF),
    "a storm of 100s": Fault("timeout", [READ, Endless(b"HTTP/1.1 100 Continue\r\n\r\n" * 99)], BRIEF),
    "a storm of 103s": Fault("timeout", [READ, Endless(b"HTTP/1.1 103 Hints\r\nLink: </a>\r\n\r\n" * 99)], BRIEF),
}

ANSWERS: dict[str, Script] = {
    "whole": [READ, GOOD],
    "in packets of one byte": [READ, Drip(GOOD)],
    "ended by the connection's end": [READ, head() + BODY, CLOSE],
    "in chunks": [READ, chunked(CHUNK + END)],
    "in chunks of one byte, each in packets of one byte": [
        READ,
        Drip(chunked(b"".join(b"1\r\n%c\r\n" % byte for byte in BODY) + END)),
    ],
    "in chunks with extensions and trailers": [
        READ,
        chunked(CHUNK.replace(b"\r", b';a="b"\r', 1) + b"0\r\nX-A: b\r\n\r\n"),
    ],
    "gzip": [READ, encoded(b"gzip", gzip.compress(BODY))],
    "x-gzip": [READ, encoded(b"X-GZip", gzip.compress(BODY))],
    "gzip in packets of one byte": [READ, Drip(encoded(b"gzip", gzip.compress(BODY)))],
    "gzip of two members": [READ, encoded(b"gzip", gzip.compress(BODY[:5]) + gzip.compress(BODY[5:]))],
    "deflate": [READ, encoded(b"deflate", zlib.compress(BODY))],
    "deflate without its wrapping": [READ, encoded(b"deflate", bare_deflate(BODY))],
    "identity": [READ, encoded(b"identity", BODY)],
    "after a few interim answers": [
        READ,
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Hints\r\nLink: </a>\r\n\r\n" + GOOD,
    ],
    "with a header of 60 kB": [READ, answer(BODY, b"X-Long: " + b"a" * 60_000)],
    "with many headers": [READ, answer(BODY, *[b"X-Many: 1"] * 90)],
    "with a header in Latin-1": [READ, answer(BODY, b"X-Latin: \xe9")],
    "without a reason": [READ, answer(BODY, status=b"200")],
    "of HTTP/1.0": [READ, GOOD.replace(b"HTTP/1.1", b"HTTP/1.0"), CLOSE],
}


# What waits is the same for each operation, and waits.
CASES = [
    (name, operation) for name in FAULTS for operation in PROBE if operation == "secret" or FAULTS[name].timeout > BRIEF
]


@pytest.mark.parametrize(("name", "operation"), CASES)
def test_a_fault_is_one_error_of_ours_after_one_request(world: World, name: str, operation: str) -> None:
    fault, (kind, call) = FAULTS[name], PROBE[operation]
    with serving(fault.steps) as server:
        client = world.client(server.url, timeout=fault.timeout)
        error = failure(call, client)
        assert type(error) is kind
        assert (error.reason, error.retryable, error.status, error.attempts) == (fault.reason, fault.retryable, None, 1)
        assert len(server.requests) == 1
        assert client.get_secret(TOKEN) == SECRET
        assert len(server.requests) == 2


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_may_come(world: World, name: str) -> None:
    with serving(ANSWERS[name]) as server:
        client = world.client(server.url, timeout=5)
        assert [client.get_secret(TOKEN), client.get_secret(TOKEN)] == [SECRET, SECRET]
        assert len(server.requests) == 2


@pytest.mark.parametrize("operation", PROBE)
def test_a_refused_connection_is_an_error_that_says_what_to_start(world: World, operation: str) -> None:
    kind, call = PROBE[operation]
    with nobody() as url:
        error = failure(call, world.client(url))
    assert type(error) is kind
    assert (error.reason, error.retryable, error.status) == ("connection", True, None)
    assert "oo serve" in str(error)


def test_a_host_without_an_address_is_a_connection_error(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_args: object, **_keywords: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    error = failure(PROBE["secret"][1], world.client("https://nowhere.invalid"))
    assert (error.reason, error.retryable) == ("connection", True)
    assert "cannot be resolved" in str(error)


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 305, 307, 308, 399])
def test_no_redirect_is_followed(world: World, status: int) -> None:
    with serving() as elsewhere:
        line = head(b"Location: " + elsewhere.url.encode(), b"Content-Length: 0", status=b"%d Moved" % status)
        with serving([READ, line]) as server:
            client = world.client(server.url, timeout=5)
            error = failure(PROBE["secret"][1], client)
            assert (error.reason, error.retryable, error.status) == ("status", False, status)
            assert (len(server.requests), elsewhere.connections) == (1, 0)
            assert client.get_secret(TOKEN) == SECRET
            assert server.connections == 1


def test_an_upgrade_nobody_asked_for_is_an_error(world: World) -> None:
    switch = head(b"Upgrade: other", b"Connection: upgrade", status=b"101 Switching Protocols")
    with serving([READ, switch + b"other"]) as server:
        client = world.client(server.url, timeout=5)
        error = failure(PROBE["secret"][1], client)
        assert (error.reason, error.retryable, error.status) == ("status", False, 101)
        assert client.get_secret(TOKEN) == SECRET


def test_an_empty_answer_is_a_protocol_error_with_its_status(world: World) -> None:
    with serving([READ, encoded(b"gzip", b"")]) as server:
        error = failure(PROBE["secret"][1], world.client(server.url))
    assert (error.reason, error.retryable, error.status) == ("protocol", False, 200)
