"""Every fault, each operation, both worlds: the table says how a call ends, and each cell is held to it.

What a cell asks: the operation's error of ours and nothing foreign in it, the reason that the table states or the
value, as many requests on the wire as there were attempts (whether the connection is new or kept), no wait that was not
promised, no cookie, and a client that still works. Health and streams do not read JSON, and so differ where the fault
is in it.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import threading
import time
import zlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from itertools import product
from typing import Any, NamedTuple

import pytest

import oo
from oo.transports.aiohttp import AiohttpTransport
from oo.transports.requests import RequestsTransport
from tests.support.faults import (
    BODY,
    CLOSE,
    GOOD,
    RESET,
    SECRET,
    SILENCE,
    Drip,
    Endless,
    FaultServer,
    Script,
    answer,
    head,
    nobody,
    serving,
    unaccepting,
)
from tests.support.probing import (
    CHUNK,
    END,
    LENGTH,
    LONG,
    PROBE,
    TOKEN,
    ZIPPED,
    assert_ours,
    bare_deflate,
    chunked,
    encoded,
)
from tests.support.waiting import PATIENCE
from tests.support.worlds import World

BRIEF = 0.1  # seconds: the timeout of calls that run into it
SOON = 8.0  # seconds: what takes longer hangs, on a machine however busy


def sent(client: oo.Client | oo.AsyncClient) -> Any:
    sending = client.send("v1/send", TOKEN, payload={"a": 1})
    if isinstance(sending, oo.Response):
        return sending.json()

    async def read() -> Any:
        return (await sending).json()

    return read()


def streamed(client: oo.Client | oo.AsyncClient) -> Any:
    if isinstance(client, oo.Client):
        with client.stream("v1/stream", TOKEN, payload={"a": 1}) as stream:
            return b"".join(stream.iter_bytes())

    async def read() -> bytes:
        async with client.stream("v1/stream", TOKEN, payload={"a": 1}) as stream:
            return b"".join([piece async for piece in stream.iter_bytes()])

    return read()


OPERATIONS: dict[str, tuple[type[oo.DoubleOError], Callable[[Any], Any]]] = {
    **PROBE,
    "chat": (oo.ProxyError, lambda client: client.chat_completion(TOKEN, [])),
    "send": (oo.ProxyError, sent),
    "stream": (oo.ProxyError, streamed),
}
PATHS = {
    "secret": b"/api/secret",
    "env": b"/api/env",
    "proxy": b"/api/proxy/v1/chat",
    "health": b"/health",
    "chat": b"/api/proxy/v1/chat/completions",
    "send": b"/api/proxy/v1/send",
    "stream": b"/api/proxy/v1/stream",
}


class End(NamedTuple):
    """How a call fails."""

    reason: str
    status: int | None = None
    retryable: bool = False


LOST = End("connection", retryable=True)
LATE = End("timeout", retryable=True)
NONSENSE = End("protocol")
UNREAD = End("protocol", 200)


class Fault(NamedTuple):
    """`steps` answer a request; `ends` says for each operation how it fails, or None where the value in `body` comes.
    `waits` are the least seconds between the attempts of a client with two retries."""

    steps: Script
    ends: Mapping[str, End | None]
    body: bytes = BODY
    waits: tuple[float, ...] = (0.5, 1)


def ends(end: End | None, *steps: Any, body: bytes = BODY, **but: End | None) -> Fault:
    return Fault(steps, {operation: but.get(operation, end) for operation in OPERATIONS}, body)


def lost(*steps: Any) -> Fault:
    return ends(LOST, *steps)


def nonsense(*steps: Any) -> Fault:
    return ends(NONSENSE, *steps)


def comes(*steps: Any) -> Fault:
    return ends(None, *steps)


def holds(body: bytes) -> Fault:
    """A body that each operation can read."""
    return ends(None, answer(body), body=body)


def unread(body: bytes, *framed: Any, **but: End | None) -> Fault:
    """A body that is whole and holds no JSON, or not the right one."""
    return ends(UNREAD, *(framed or [answer(body)]), body=body, health=None, stream=None, **but)


def says(status: bytes, *fields: bytes, body: bytes = b'{"error": "no"}', waits: tuple[float, ...] = (0.5, 1)) -> Fault:
    """A status that is no success."""
    code = int(status[:3])
    return ends(End("status", code, code >= 500), answer(body, *fields, status=status))._replace(waits=waits)


def busy(after: bytes, *waits: float) -> Fault:
    """A 503 with that Retry-After."""
    return says(b"503 Busy", b"Retry-After: " + after, waits=waits)


def with_member(member: bytes) -> bytes:
    """BODY, and one member more."""
    return BODY[:-1] + b", " + member + b"}"


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


ZLIBBED = zlib.compress(LONG)
ELSEWHERE = b"Location: /elsewhere"
HINTS = b"HTTP/1.1 103 Hints\r\nLink: </a>\r\n\r\n"
PAUSE = 0.005  # seconds: a reset at once would overtake what was sent before it

FAULTS: dict[str, Fault] = {
    "reset before the headers": lost(RESET),
    "closed before the headers": lost(CLOSE),
    "reset within the headers": lost(GOOD[:25], PAUSE, RESET),
    "reset within the body": lost(answer(LONG)[:1500], PAUSE, RESET),
    "reset at the end of a body without a length": lost(head() + BODY, PAUSE, RESET),
    "end within the status line": lost(b"HTTP/1.1 20", CLOSE),
    "end after the status line": lost(b"HTTP/1.1 200 OK\r\n", CLOSE),
    "end within a header": lost(b"HTTP/1.1 200 OK\r\nContent-Le", CLOSE),
    "end between two headers": lost(b"HTTP/1.1 200 OK\r\n" + LENGTH + b"\r\n", CLOSE),
    "end after an interim answer": lost(b"HTTP/1.1 100 Continue\r\n\r\n", CLOSE),
    "cut inside JSON, in an error": lost(answer(b'{"error": "no"}', status=b"500 Error")[:-4], CLOSE),
    "cut inside JSON": lost(GOOD[:-9], CLOSE),
    "no body where one was told": lost(head(LENGTH), CLOSE),
    "a negative length": nonsense(head(b"Content-Length: -5") + BODY),
    "two lengths": nonsense(head(LENGTH, b"Content-Length: 7") + BODY),
    "two lengths in one list": nonsense(head(b"Content-Length: 7, 8") + BODY),
    "one length twice": nonsense(head(LENGTH, LENGTH) + BODY),
    "a length in words": nonsense(head(b"Content-Length: seven") + BODY),
    "a length with a sign": nonsense(head(b"Content-Length: +7") + BODY),
    "a length with an underscore": nonsense(head(b"Content-Length: 1_7") + BODY),
    "a length in foreign digits": nonsense(head(b"Content-Length: \xd9\xa1\xd9\xa7") + BODY),
    "a length of thirty digits": nonsense(head(b"Content-Length: " + b"9" * 30) + BODY),
    "an empty length": nonsense(head(b"Content-Length:") + BODY, CLOSE),
    "both framings, the chunks told first": nonsense(head(b"Transfer-Encoding: chunked", LENGTH) + CHUNK + END),
    "both framings": nonsense(head(LENGTH, b"Transfer-Encoding: chunked") + CHUNK + END),
    "a transfer coding over chunks": nonsense(head(b"Transfer-Encoding: gzip, chunked") + CHUNK + END),
    "a transfer coding without chunks": nonsense(head(b"Transfer-Encoding: gzip") + BODY, CLOSE),
    "chunks twice": nonsense(head(b"Transfer-Encoding: chunked, chunked") + CHUNK + END),
    "a chunk size in words": nonsense(chunked(b"xyz\r\n" + CHUNK + END)),
    "a negative chunk size": nonsense(chunked(b"-" + CHUNK + END)),
    "a chunk size with a prefix": nonsense(chunked(b"0x" + CHUNK + END)),
    "a chunk size with a blank": nonsense(chunked(b" " + CHUNK + END)),
    "no chunk size": nonsense(chunked(b"\r\n" + CHUNK + END)),
    "a chunk size of forty digits": nonsense(chunked(b"F" * 40 + b"\r\n" + CHUNK + END)),
    "a chunk longer than its size": nonsense(chunked(b"5\r\n" + BODY + b"\r\n" + END)),
    "no chunk size, after a chunk": nonsense(chunked(CHUNK), PAUSE, b"xyz\r\n" + END),
    "no end of chunk, after its bytes": nonsense(chunked(CHUNK[:-2]), PAUSE, b"xyz\r\n" + END),
    "a trailer without a colon, after the chunks": nonsense(chunked(CHUNK + b"0\r\n"), PAUSE, b"neither\r\n\r\n"),
    "trailers of 100 kB": nonsense(chunked(CHUNK), PAUSE, b"0\r\nX-Long: " + b"a" * 100_000 + b"\r\n\r\n"),
    "an end within a chunk": lost(chunked(CHUNK[:9]), CLOSE),
    "an end after a chunk": lost(chunked(CHUNK), CLOSE),
    "an end within a chunk size": lost(chunked(CHUNK + b"1"), CLOSE),
    "an end within the trailers": lost(chunked(CHUNK + b"0\r\nX-Trailer: "), CLOSE),
    "gzip that is none": nonsense(encoded(b"gzip", BODY)),
    "gzip with a broken middle": nonsense(encoded(b"gzip", ZIPPED[:500] + b"\xff" * 99 + ZIPPED[599:])),
    "gzip with a wrong checksum": nonsense(encoded(b"gzip", ZIPPED[:-8] + b"\0\0\0\0" + ZIPPED[-4:])),
    "gzip with a tail": nonsense(encoded(b"gzip", ZIPPED + b"tail")),
    "deflate with a broken middle": nonsense(encoded(b"deflate", ZLIBBED[:500] + b"\xff" * 99 + ZLIBBED[599:])),
    "deflate with a wrong checksum": nonsense(encoded(b"deflate", ZLIBBED[:-4] + b"\0\0\0\0")),
    "deflate with a tail": nonsense(encoded(b"deflate", ZLIBBED + b"tail")),
    "deflate with a tail that comes later": nonsense(
        head(b"Content-Encoding: deflate", b"Content-Length: %d" % (len(ZLIBBED) + 4)), ZLIBBED, PAUSE, b"tail"
    ),
    "deflate cut short": lost(encoded(b"deflate", ZLIBBED[:900])),
    "deflate without its checksum": lost(encoded(b"deflate", ZLIBBED[:-4])),
    "deflate without its wrapping, cut short": lost(encoded(b"deflate", bare_deflate(LONG)[:900])),
    "gzip in chunks that end within it": lost(
        head(b"Transfer-Encoding: chunked", b"Content-Encoding: gzip"), b"9\r\n" + ZIPPED[:9] + b"\r\n" + END
    ),
    "gzip cut short by the connection's end": lost(encoded(b"gzip", ZIPPED)[:-9], CLOSE),
    "gzip cut short": lost(encoded(b"gzip", ZIPPED[:900])),
    "gzip without its checksum": lost(encoded(b"gzip", ZIPPED[:-6])),
    "gzip whose second member is cut short": lost(encoded(b"gzip", ZIPPED + ZIPPED[:900])),
    "deflate that is none": nonsense(encoded(b"deflate", b"\xff" * 99)),
    "br": nonsense(encoded(b"br", BODY)),
    "zstd": nonsense(encoded(b"zstd", BODY)),
    "a coding that nobody knows": nonsense(encoded(b"rot13", BODY)),
    "codings of which one does nothing": comes(encoded(b"identity, gzip", gzip.compress(BODY))),
    "two codings in two fields": comes(
        answer(gzip.compress(BODY), b"Content-Encoding: gzip", b"Content-Encoding: identity")
    ),
    "gzip twice, in two fields": nonsense(
        answer(gzip.compress(ZIPPED), b"Content-Encoding: gzip", b"Content-Encoding: gzip")
    ),
    "gzip twice": nonsense(encoded(b"gzip, gzip", gzip.compress(ZIPPED))),
    "a header of 100 kB": nonsense(answer(BODY, b"X-Long: " + b"a" * 100_000)),
    "a header without an end": nonsense(b"HTTP/1.1 200 OK\r\nX-Long: ", Endless(b"a" * 4096)),
    "headers without an end": nonsense(b"HTTP/1.1 200 OK\r\n", Endless(b"X-Many: 1\r\n" * 99)),
    "too many headers": nonsense(answer(BODY, *[b"X-Many: 1"] * 100)),
    "a header without a colon": nonsense(answer(BODY, b"neither a name nor a value")),
    "a header without a name": nonsense(answer(BODY, b": value")),
    "a blank before the colon": nonsense(answer(BODY, b"X-Blank : value")),
    "a NUL in a header": nonsense(answer(BODY, b"X-Nul: a\0b")),
    "a CR in a header": nonsense(answer(BODY, b"X-Cr: a\rb")),
    "a folded line before any header": nonsense(GOOD.replace(b"OK\r\n", b"OK\r\n folded\r\n", 1)),
    "garbage for a status line": nonsense(b"garbage\r\n\r\n"),
    "a status in words": nonsense(answer(status=b"fine OK")),
    "a status of two digits": nonsense(answer(status=b"99 Low")),
    "a status of four digits": nonsense(answer(status=b"1000 High")),
    "a status of nought": nonsense(answer(status=b"000 Nought")),
    "a status with a sign": nonsense(answer(status=b"-200 OK")),
    "HTTP/0.9": nonsense(BODY, CLOSE),
    "HTTP/0.9 with a line": nonsense(BODY + b"\r\n", CLOSE),
    "HTTP/1.9": nonsense(GOOD.replace(b"HTTP/1.1", b"HTTP/1.9")),
    "HTTP/2.0": nonsense(GOOD.replace(b"HTTP/1.1", b"HTTP/2.0")),
    "another protocol": nonsense(b"ICY 200 OK\r\n\r\n"),
    "a TLS alert": nonsense(b"\x15\x03\x01\x00\x02\x02\x50", CLOSE),
    "a switch of protocols": says(b"101 Switching Protocols", b"Upgrade: other", b"Connection: upgrade", body=b""),
    # What comes. Bytes after the answer that come with it are nonsense to aiohttp and unread by requests; that they are
    # never the next answer is told in test_connections.py.
    "whole": comes(GOOD),
    "in packets of one byte": comes(Drip(GOOD)),
    "ended by the connection's end": comes(head() + BODY, CLOSE),
    "in chunks": comes(chunked(CHUNK + END)),
    "in chunks of one byte, each in packets of one byte": comes(
        Drip(chunked(b"".join(b"1\r\n%c\r\n" % byte for byte in BODY) + END))
    ),
    "in chunks with extensions and trailers": comes(
        chunked(CHUNK.replace(b"\r", b';a="b"\r', 1) + b"0\r\nX-A: b\r\n\r\n")
    ),
    "gzip": comes(encoded(b"gzip", gzip.compress(BODY))),
    "x-gzip": comes(encoded(b"X-GZip", gzip.compress(BODY))),
    "gzip in packets of one byte": comes(Drip(encoded(b"gzip", gzip.compress(BODY)))),
    "gzip of two members": comes(encoded(b"gzip", gzip.compress(BODY[:5]) + gzip.compress(BODY[5:]))),
    "deflate": comes(encoded(b"deflate", zlib.compress(BODY))),
    "deflate without its wrapping": comes(encoded(b"deflate", bare_deflate(BODY))),
    "identity": comes(encoded(b"identity", BODY)),
    "after a few interim answers": comes(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Hints\r\nLink: </a>\r\n\r\n" + GOOD
    ),
    "with a header of 60 kB": comes(answer(BODY, b"X-Long: " + b"a" * 60_000)),
    "with many headers": comes(answer(BODY, *[b"X-Many: 1"] * 90)),
    "with a header in Latin-1": comes(answer(BODY, b"X-Latin: \xe9")),
    "without a reason": comes(answer(BODY, status=b"200")),
    "of HTTP/1.0": comes(GOOD.replace(b"HTTP/1.1", b"HTTP/1.0"), CLOSE),
    "ended by Connection: close": comes(answer(BODY, b"Connection: close"), CLOSE),
    "after a thousand 100s": comes(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000 + GOOD),
    "after a thousand 102s": comes(b"HTTP/1.1 102 Processing\r\n\r\n" * 1000 + GOOD),
    "after a thousand 103s": comes(HINTS * 1000 + GOOD),
    "with headers of 100 kB together": comes(answer(BODY, *[b"X-Many: " + b"a" * 1100] * 95)),
    "with half a character in a header": comes(answer(BODY, b"X-Half: \xed\xa0\x80")),
    "with cookies": comes(answer(BODY, b"Set-Cookie: a=b; Path=/", b"Set-Cookie: \xff=;;", b"Set-Cookie2: a=b")),
    # What is whole, and no JSON or not what was asked for. The API's own JSON may hold what a secret may not.
    "JSON without its end": unread(BODY[:-9]),
    "JSON without its end, by the connection's": unread(BODY[:-9], head() + BODY[:-9], CLOSE),
    "two JSON texts": unread(BODY + BODY),
    "nothing": unread(b"", proxy=None),
    "nothing, compressed": unread(b"", encoded(b"gzip", b""), proxy=None),
    "lists 100,000 deep": unread(nested(100_000)),
    "lists 100,000 deep, never closed": unread(b"[" * 100_000),
    "objects 100,000 deep": unread(b'{"value":' * 100_000 + b"1" + b"}" * 100_000),
    "a member 100,000 deep": unread(with_member(b'"n": ' + nested(100_000))),
    "an integer of 5,000 digits": unread(with_member(b'"n": ' + b"9" * 5000)),
    "a negative integer of 5,000 digits": unread(with_member(b'"n": -' + b"9" * 5000)),
    "NaN": unread(with_member(b'"n": NaN')),
    "Infinity": unread(with_member(b'"n": Infinity')),
    "-Infinity": unread(with_member(b'"n": -Infinity')),
    # RFC 8259, 6, leaves it to the reader.
    "a number that no float holds": holds(with_member(b'"n": 1e999')),
    "a BOM": holds(b"\xef\xbb\xbf" + BODY),
    "UTF-16 with a BOM": unread(BODY.decode().encode("utf-16")),
    "UTF-32 with a BOM": unread(BODY.decode().encode("utf-32")),
    "half a character": unread(with_member(b'"n": "\xed\xa0\x80"')),
    "half a character, escaped": unread(
        b'{"value": "\\ud800", "secrets": {"NAME": "\\udfff"}}', proxy=None, chat=None, send=None
    ),
    "half a character in a name": unread(b'{"secrets": {"\\udead": "v"}}', proxy=None, chat=None, send=None),
    "a character in two halves": holds(b'{"value": "\\ud83d\\ude00", "secrets": {"NAME": "\\uD83D\\uDE00"}}'),
    "an error 600 deep": ends(
        None,
        answer(b'{"error": %b}' % nested(600)),
        body=b'{"error": %b}' % nested(600),
        secret=End("answer", 200),
        env=End("answer", 200),
    ),
    "an error of half a character": ends(
        None,
        answer(b'{"error": "\\ud800"}'),
        body=b'{"error": "\\ud800"}',
        secret=End("answer", 200),
        env=End("answer", 200),
    ),
    # A status is told whatever body comes with it.
    "a 500 with a body 600 deep": says(b"500 Error", body=nested(600)),
    "a 500 with a body 3,000 deep": says(b"500 Error", body=nested(3000)),
    "a 500 with a body 100,000 deep": says(b"500 Error", body=nested(100_000)),
    "a 500 with an integer of 5,000 digits": says(b"500 Error", body=b"9" * 5000),
    "a 500 with NaN": says(b"500 Error", body=b'{"error": NaN}'),
    "a 500 with a BOM": says(b"500 Error", body=b'\xef\xbb\xbf{"error": "no"}'),
    "a 500 with half a character": says(b"500 Error", body=b'{"error": "\\ud800", "\\udfff": "\\udead"}'),
    "a 500 with half a character in bytes": says(b"500 Error", body=b"\xed\xa0\x80"),
    "a 500 with nothing": says(b"500 Error", body=b""),
    "a 500 in gzip that is none": nonsense(answer(BODY, b"Content-Encoding: gzip", status=b"500 Error")),
    **{
        f"a {status}": says(b"%d Moved" % status, ELSEWHERE) for status in (300, 301, 302, 303, 305, 306, 307, 308, 399)
    },
    "a 304": ends(End("status", 304), head(ELSEWHERE, status=b"304 Not Modified"), send=End("protocol", 304)),
    "a 304 that tells a length": ends(
        End("status", 304), head(LENGTH, status=b"304 Not Modified"), send=End("protocol", 304)
    ),
    # What is no number of seconds from 0 is no Retry-After; one of over 60 s ends the call.
    "Retry-After: 7": busy(b"7", 7, 7),
    "Retry-After: 61": busy(b"61"),
    "Retry-After: -1": busy(b"-1", 0.5, 1),
    "Retry-After: NaN": busy(b"NaN", 0.5, 1),
    "Retry-After: Infinity": busy(b"Infinity", 0.5, 1),
    "Retry-After: 1e999": busy(b"1e999", 0.5, 1),
    "Retry-After: 9999...": busy(b"9" * 400, 0.5, 1),
    "Retry-After twice": busy(b"7\r\nRetry-After: 7", 0.5, 1),
    "Retry-After of the far past": busy(b"Thu, 01 Jan 1970 00:00:00 GMT", 0.5, 1),
    "Retry-After of a past before that": busy(b"Mon, 01 Jan 0001 00:00:00 GMT", 0.5, 1),
    "Retry-After of the far future": busy(b"Fri, 31 Dec 9999 23:59:59 GMT"),
    "Retry-After of a future after that": busy(b"Fri, 31 Dec 99999 23:59:59 GMT", 0.5, 1),
}

# A stream may take its time once it has begun, as test_streaming.py tells: that cell is left out.
WAITS: dict[str, Fault] = {
    "silence": ends(LATE, SILENCE),
    "silence within the headers": ends(LATE, GOOD[:25], SILENCE),
    "silence within the body": ends(LATE, GOOD[:-9], SILENCE),
    "silence within a chunk": ends(LATE, chunked(CHUNK[:9]), SILENCE),
    "silence within gzip": ends(LATE, encoded(b"gzip", ZIPPED)[:-9], SILENCE),
    "silence in an error": ends(LATE, answer(b'{"error": "no"}', status=b"500 Error")[:-4], SILENCE),
    "silence after an interim answer": ends(LATE, HINTS, SILENCE),
    "dripped headers": ends(LATE, Drip(GOOD, 0.02)),
    "a dripped body": Fault(
        (head(LENGTH), Drip(BODY, 0.02, 5)), {operation: LATE for operation in OPERATIONS if operation != "stream"}
    ),
}

# A storm keeps an event loop busy, so these are not tried again, and not side by side with what has to be in time.
STORMS: dict[str, Fault] = {
    "a storm of 100s": ends(LATE, Endless(b"HTTP/1.1 100 Continue\r\n\r\n" * 99)),
    "a storm of 102s": ends(LATE, Endless(b"HTTP/1.1 102 Processing\r\n\r\n" * 99)),
    "a storm of 103s": ends(LATE, Endless(HINTS * 99)),
}

UNREACHABLE: dict[str, tuple[Callable[[], AbstractContextManager[Any]], End]] = {
    "refused": (nobody, LOST),
    "not accepted": (unaccepting, LATE),
    "reset at once": (lambda: serving(*[[RESET]] * 99), LOST),
    "closed at once": (lambda: serving(*[[CLOSE]] * 99), LOST),
}


UNANSWERED = {"reset before the headers", "closed before the headers"}


class OnClock:
    """The transport of a world, on the wire as ever; the chain above it waits by a clock of its own."""

    def __init__(self, world: World) -> None:
        transport = RequestsTransport() if world.blocking else AiohttpTransport()
        self.send, self.close = transport.send, transport.close
        self.io = world.clock()


def due(operation: str, fault: Fault, attempts: int) -> Any:
    """What `seen` has to be."""
    kind, end = OPERATIONS[operation][0], fault.ends[operation]
    if end is not None:
        return kind, end, attempts
    if operation in ("health", "stream"):
        return True if operation == "health" else fault.body
    if not fault.body:
        return None
    data = json.loads(fault.body)
    return {"secret": data.get("value"), "env": data.get("secrets")}.get(operation, data)


def seen(result: Any) -> Any:
    """A value as it is, and an error by what a caller goes by."""
    if not isinstance(result, BaseException):
        return result
    assert_ours(result, TOKEN, SECRET)
    assert isinstance(result, oo.DoubleOError)
    return type(result), End(result.reason, result.status, result.retryable), result.attempts


def cell(world: World, client: Any, call: Callable[[Any], Any]) -> Callable[[], Any]:
    """A call that ends even where the client would wait for ever: the server sees to that, and here a task may."""
    if world.blocking:
        return lambda: call(client.client)
    return lambda: asyncio.wait_for(call(client.client), PATIENCE)


def ended(world: World, cell: Callable[[], Any]) -> Any:
    try:
        return world.run(cell)
    except Exception as error:
        return error


def most(end: End | None, retries: int, waits: tuple[float, ...]) -> int:
    """Attempts that a call may make."""
    return 1 + len(waits) if retries and end is not None and end.retryable else 1


@pytest.mark.campaign
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_ends_each_operation_as_the_table_says(world: World, name: str) -> None:
    fault, faulty = FAULTS[name], threading.Event()
    with serving(reply=lambda _request: fault.steps if faulty.is_set() else GOOD) as server:
        found: dict[tuple[str, int], Any] = {}
        wanted: dict[tuple[str, int], Any] = {}
        for retries in (0, 2):
            transport = OnClock(world)
            client = world.client(server.url, PATIENCE, retries, transport=transport)
            for operation, (_, call) in OPERATIONS.items():
                before = len(server.requests)
                transport.io.sleeps.clear()
                faulty.set()
                result = ended(world, cell(world, client, call))
                faulty.clear()
                attempts = len(server.requests) - before
                allowed = most(fault.ends[operation], retries, fault.waits)
                found[operation, retries] = seen(result), attempts
                # Once a stream has begun it is the caller's, and not tried again.
                made = min(attempts, allowed) if operation == "stream" else allowed
                # A kept connection that was closed as the request went out is no attempt.
                resent = name in UNANSWERED and not retries and operation in ("env", "health")
                wanted[operation, retries] = due(operation, fault, made), made + resent
                slept = transport.io.sleeps
                assert len(slept) == made - 1, slept
                assert all(
                    least <= wait <= least * 1.25 for least, wait in zip(fault.waits, slept, strict=False)
                ), slept
                # Nothing of the fault is left, in the client or on the connection; the next one finds that kept.
                assert retries or client.get_secret(TOKEN) == SECRET
        assert found == wanted
        assert not [request for request in server.requests if b"cookie" in request.lower()]


@pytest.mark.campaign
@pytest.mark.parametrize(("faults", "tries"), [(WAITS, (0, 2)), (STORMS, (0,))], ids=["silences", "storms"])
def test_what_waits_ends_each_operation_as_the_table_says(
    world: World, faults: dict[str, Fault], tries: tuple[int, ...]
) -> None:
    with ExitStack() as stack:
        cells: dict[tuple[str, str, int], Any] = {}
        servers: dict[tuple[str, int], FaultServer] = {}
        for name, retries in product(faults, tries):
            server = stack.enter_context(serving(reply=lambda _request, name=name: faults[name].steps))
            servers[name, retries] = server
            client = world.client(server.url, BRIEF, retries, transport=OnClock(world))
            for operation in faults[name].ends:
                cells[name, operation, retries] = cell(world, client, OPERATIONS[operation][1])
        began = time.monotonic()
        results = world.together(*cells.values())
        assert time.monotonic() - began < SOON
        found, wanted = {}, {}
        for (name, operation, retries), result in zip(cells, results, strict=True):
            fault, sent = faults[name], [request.split()[1] for request in servers[name, retries].requests]
            allowed = most(fault.ends[operation], retries, fault.waits)
            attempts = getattr(result, "attempts", 0)
            made = min(attempts, allowed) if operation == "stream" else allowed
            # A machine that is busy elsewhere may let an attempt end before it is sent.
            found[name, operation, retries] = seen(result), sent.count(PATHS[operation]) <= attempts
            wanted[name, operation, retries] = due(operation, fault, made), True
        assert found == wanted


@pytest.mark.parametrize("name", UNREACHABLE)
def test_a_server_that_is_not_there_ends_each_operation_as_the_table_says(world: World, name: str) -> None:
    place, end = UNREACHABLE[name]
    for retries in (0, 2):
        with place() as there:
            url = there if isinstance(there, str) else there.url
            client = world.client(url, BRIEF if end is LATE else PATIENCE, retries, transport=OnClock(world))
            calls = [cell(world, client, call) for _, call in OPERATIONS.values()]
            began = time.monotonic()
            results = world.together(*calls)
            assert time.monotonic() - began < SOON
            assert list(map(seen, results)) == [(kind, end, 1 + retries) for kind, _ in OPERATIONS.values()]
            if name == "refused":
                assert all("connection refused" in str(error) for error in results)
            if not isinstance(there, str):
                assert there.connections == len(calls) * (1 + retries)


def test_a_host_without_an_address_is_a_connection_error(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_args: object, **_keywords: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(oo.SecretError) as caught:
        world.client("https://nowhere.invalid").get_secret(TOKEN)
    assert seen(caught.value) == (oo.SecretError, LOST, 1)
    assert "cannot be resolved" in str(caught.value)


@pytest.mark.parametrize(
    ("raw", "text"),
    [(b"caf\xc3\xa9", "caf\u00e9"), (b"caf\xe9", "caf\u00e9"), (b"\xed\xa0\x80", "\u00ed\u00a0\u0080")],
    ids=["UTF-8", "Latin-1", "half a character"],
)
def test_a_header_is_text_that_can_be_written_again(world: World, raw: bytes, text: str) -> None:
    with serving(reply=lambda _request: answer(BODY, b"X-Name: " + raw)) as server:
        assert world.client(server.url).send("v1/x", TOKEN).headers["X-Name"] == text
