"""What a client makes of an answer, whatever its bytes: a documented value or a documented error, and no token in it.

The first byte of an input says what reads the rest: a small letter a call of the blocking client, a capital letter the
same call of the asyncio client, each through its own transport from a socket that holds the rest as a server's answer;
a digit one of the readers alone.
"""

from __future__ import annotations

import asyncio
import atexit
import gzip
import inspect
import math
import socket
import traceback
import zlib
from collections.abc import Callable
from functools import cache
from typing import Any
from unittest.mock import patch

import aiohttp.connector

import oo
from oo._core.errors import retry_after
from oo._http.response import parse_json
from oo._http.sse import EventDecoder, LineDecoder
from oo.exceptions import ERROR_OF, Operation
from oo.transports import _urllib3_patches as _timed
from oo.transports.reader import Decoder

BASE = "http://127.0.0.1:9"
TOKEN = "a-token-of-nobody-31"
LIMIT = 1 << 16
REASONS = {"connection", "tls", "status", "protocol", "size", "answer"}
_PATH = "v1/x"

# The operation, the call, and what it may return.
CALLS: dict[str, tuple[Operation, Callable[[Any], Any], tuple[type, ...]]] = {
    "s": ("secret", lambda client: client.get_secret(TOKEN), (str,)),
    "e": ("env", lambda client: client.get_env(TOKEN), (dict,)),
    "h": ("health", lambda client: client.health(), (bool,)),
    "p": ("proxy", lambda client: client.proxy(_PATH, TOKEN), (dict, list, str, int, float, type(None))),
    "d": ("proxy", lambda client: client.proxy(_PATH, TOKEN, "HEAD"), (dict, list, str, int, float, type(None))),
    "c": ("proxy", lambda client: client.chat_completion(TOKEN, []), (dict,)),
    "r": ("proxy", lambda client: client.send(_PATH, TOKEN), (oo.Response,)),
}
STREAMS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "b": (lambda client: client.stream(_PATH, TOKEN), "iter_bytes"),
    "l": (lambda client: client.stream(_PATH, TOKEN), "iter_lines"),
    "v": (lambda client: client.stream(_PATH, TOKEN), "iter_events"),
    "k": (lambda client: client.chat_completion(TOKEN, [], stream=True), "__iter__"),
}


def one(data: bytes) -> None:
    """Read one input; AssertionError, or whatever escapes, is a finding."""
    _noise.clear()
    kind, rest = data[:1].decode("latin-1"), data[1:]
    if kind in READERS:
        READERS[kind](rest)
    elif kind.lower() in CALLS or kind.lower() in STREAMS:
        _call(kind, rest)


def _call(kind: str, answer: bytes) -> None:
    operation: Operation = CALLS[kind.lower()][0] if kind.lower() in CALLS else "proxy"
    try:
        value = _blocking(kind, answer) if kind.islower() else _loop().run_until_complete(_awaited(kind, answer))
    except oo.DoubleOError as error:
        check_error(error, operation)
    else:
        if kind.lower() in CALLS:
            assert isinstance(value, CALLS[kind.lower()][2])
    assert _noise == []


def _blocking(kind: str, answer: bytes) -> Any:
    server, client = _pair(answer)
    with (
        server,
        client,
        patch.object(_timed._Timed, "_new_conn", lambda _self: client),
        # To fill a pool of the usual size takes a while.
        oo.Client(BASE, plugins=False, max_response_bytes=LIMIT, max_connections=1) as caller,
    ):
        if kind in CALLS:
            return CALLS[kind][1](caller)
        call, read = STREAMS[kind]
        with call(caller) as stream:
            for _ in getattr(stream, read)():
                pass
        return None


async def _awaited(kind: str, answer: bytes) -> Any:
    server, client = _pair(answer)

    async def connect(**_: Any) -> socket.socket:
        return client

    with server, client, patch.object(aiohttp.connector.aiohappyeyeballs, "start_connection", connect):
        async with oo.AsyncClient(BASE, plugins=False, max_response_bytes=LIMIT) as caller:
            if kind.lower() in CALLS:
                return await CALLS[kind.lower()][1](caller)
            call, read = STREAMS[kind.lower()]
            opening = call(caller)
            async with await opening if inspect.iscoroutine(opening) else opening as stream:
                async for _ in getattr(stream, read.replace("__iter__", "__aiter__"))():
                    pass
            return None


def _pair(answer: bytes) -> tuple[socket.socket, socket.socket]:
    """A server that has answered and left, and its client. Buffers are far larger than an input."""
    server, client = socket.socketpair()
    server.sendall(answer)
    server.shutdown(socket.SHUT_WR)
    client.setblocking(False)
    return server, client


def check_error(error: oo.DoubleOError, operation: Operation) -> None:
    """It is one that is documented, it came of nothing foreign, and the token is nowhere in it."""
    assert type(error) in (ERROR_OF[operation], oo.AuthenticationError), type(error)
    assert error.reason in REASONS, error.reason
    assert error.status is None or 100 <= error.status <= 999
    assert error.retry_after is None or 0 <= error.retry_after < math.inf
    assert error.__cause__ is None
    assert error.__context__ is None
    if operation != "health":  # which has no token, and so knows none
        text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        for each in (text, repr(error), repr(error.__dict__)):
            assert TOKEN not in each
    assert "\n" not in str(error)
    assert len(str(error)) < 1000


def _events(data: bytes) -> None:
    """Wherever the bytes are cut, the events and the lines are the same."""
    cut, stream = data[:1], data[1:]
    at = cut[0] % (len(stream) + 1) if cut else 0
    for parser in (EventDecoder, LineDecoder):
        found = []
        for pieces in ([stream], [stream[:at], stream[at:]], [stream[n : n + 1] for n in range(len(stream))]):
            try:
                reader = parser(200)
                each = [item for piece in pieces for item in reader.feed(piece)]  # type: ignore[attr-defined]  # both feed
                found.append([*each, reader.finish() if isinstance(reader, LineDecoder) else b""])
            except oo.DoubleOError as error:
                assert error.reason == "size"
                found.append([])
        assert found[0] == found[1] == found[2]


def _decoded(data: bytes) -> None:
    """A body in two pieces, in each encoding; what is zlib's own is read as zlib reads it."""
    cut, body = data[:1], data[1:]
    at = cut[0] % (len(body) + 1) if cut else 0
    for encoding, wbits in (("gzip", 31), ("deflate", 15), ("identity", 0)):
        try:
            decoder = Decoder(encoding)
            pieces = [piece for chunk in (body[:at], body[at:]) for piece in decoder.feed(chunk)]
            decoder.finish()
        except oo.DoubleOError as error:
            assert (error.reason, error.retryable) in (("protocol", False), ("connection", True))
            pieces = None  # type: ignore[assignment]  # nothing was read
        try:
            plain = zlib.decompressobj(wbits) if wbits else None
            whole = plain.decompress(body) if plain else body
            valid = plain is None or (plain.eof and not plain.unused_data)
        except zlib.error:
            continue
        if valid:
            assert pieces is not None
            assert b"".join(pieces) == whole


def _waited(data: bytes) -> None:
    seconds = retry_after(data.decode("latin-1"), 1e9)
    assert seconds is None or 0 <= seconds < math.inf


def _parsed(data: bytes) -> None:
    try:
        parse_json(data)
    except oo.DoubleOError as error:
        assert error.reason == "protocol"
        assert error.__context__ is None


READERS: dict[str, Callable[[bytes], None]] = {"1": _events, "2": _decoded, "3": _waited, "4": _parsed}

_noise: list[dict[str, Any]] = []


@cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda _, context: _noise.append(context))
    atexit.register(loop.close)
    return loop


_OK = b"HTTP/1.1 200 OK\r\n"
_CHUNKED = _OK + b"Transfer-Encoding: chunked\r\n\r\n"
_JSON = b'{"value": "v", "secrets": {"A": "b"}, "error": {"message": "no ' + TOKEN.encode() + b'"}}'
_SSE = b'event: m\r\nid: 1\nretry: 5\rdata: {"a": 1}\n\ndata: [DONE]\n\n'
_ZIPPED = gzip.compress(_JSON, mtime=0)
_ANSWERS = (
    _OK + b"Content-Length: %d\r\n\r\n" % len(_JSON) + _JSON,
    _OK + b"X-Request-Id: r1\r\n\r\n" + _SSE,
    _CHUNKED + b"%x;q=1\r\n%b\r\n0\r\nT: x\r\n\r\n" % (len(_JSON), _JSON),
    _OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(_ZIPPED) + _ZIPPED,
    _OK + b"Content-Encoding: deflate\r\n\r\n" + zlib.compress(_JSON),
    b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 429 No\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.0 401 No\r\nX-Request-Id: %b\r\n\r\n%b" % (TOKEN.encode(), TOKEN.encode()),
    b"HTTP/1.1 302 Found\r\nLocation: //x\r\nSet-Cookie: a=b\r\n folded: x\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\n\r\n",
)
SEEDS = (
    *(kind.encode() + answer for kind in (*CALLS, *STREAMS) for answer in _ANSWERS),
    *(kind.upper().encode() + answer for kind in (*CALLS, *STREAMS) for answer in _ANSWERS),
    b"1\x05" + _SSE,
    b"2\x05" + _ZIPPED,
    b"2\x05" + _ZIPPED + _ZIPPED,
    b"2\x05" + zlib.compress(_JSON),
    b"2\x05" + zlib.compress(_JSON)[2:-4],
    b"3120",
    b"3Wed, 21 Oct 2015 07:28:00 GMT",
    b"3Mon, 01 Jan 2000 00:00:00 +99999999999999",
    b"4" + _JSON,
    b"4" + b"[" * 4000,
    b'4[1e999, -0, "\\ud800", "\xf0\x9f\x98\x80", null, true]',
)
"""Inputs that a run begins with."""

WORDS = (
    *(f"\r\n{name}: ".encode() for name in ("Content-Length", "Transfer-Encoding", "Content-Encoding", "Retry-After")),
    *(b"\r\n", b"\r\n\r\n", b"chunked", b"gzip", b"deflate", b"identity", b"close", b"keep-alive", b"-1", b"1e999"),
    *(b"HTTP/1.1 ", b"HTTP/1.0 ", b"200", b"101", b"503", b"Fri, 31 Dec 9999 23:59:59 GMT", b"0\r\n\r\n"),
    *(b'{"value": "', b'{"secrets": {"', b'{"error": "', b"NaN", b"\\ud800", b"\xef\xbb\xbf", b"\xff", b"\0"),
    *(b"data: ", b"event: ", b"id: ", b"retry: ", b"[DONE]", TOKEN.encode()),
)
"""What mutations are made of."""
