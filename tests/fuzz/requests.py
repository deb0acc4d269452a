"""What the gateway makes of a request, whatever its bytes: no call leaves the route, no credential comes back.

The first byte of an input says what reads the rest: `r` the gateway's own connection, front and proxy, over a store and
an upstream that are in memory; another the path, the patterns of a route, an address or a token alone.
"""

from __future__ import annotations

import asyncio
import atexit
import ipaddress
import logging
import posixpath
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

from aiohttp.helpers import is_ip_address
from yarl import URL

import oo
from oo._http.body import read_whole
from oo._http.headers import Headers
from oo._http.urls import base_url, proxied
from oo.gateway.context import GatewayContext
from oo.gateway.egress import check_literal
from oo.gateway.errors import StoreError
from oo.gateway.fronts.base_url import Front
from oo.gateway.http_server.server import Server
from oo.gateway.models import Denial, Grant, Kind, Route, StoredResponse
from oo.gateway.public_addresses import is_public
from oo.gateway.stack import Stack
from oo.gateway.tokens import fingerprint, is_token
from oo.testing import MockTransport, Streamed

TOKEN = "the-callers-own-token"
KEY = "the-real-key+of/the upstream"
SECRET = "what-another-token-opens"
BASE = "http://upstream.test/base"
ROUTE = Route("api", BASE, {"Authorization": "Bearer {key}", "X-Key": "{key}"}, ("* /v1/*",), allow_private=True)


class Memory:
    """A store that knows one token, of one route; and the audit, and the log."""

    def __init__(self) -> None:
        self.results: dict[str, StoredResponse] = {}
        self.notes: list[dict[str, Any]] = []

    async def authorize(self, token: str, kind: Kind, *, key: str | None = None) -> Grant | Denial:
        return await self.consume(token, kind)

    async def opens(self, token: str, kind: Kind) -> Grant | Denial:
        return await self.consume(token, kind)

    async def consume(self, token: str, kind: Kind) -> Grant | Denial:
        return Grant("id", kind, "api") if token == TOKEN and kind == "route" else Denial("unknown")

    async def secret(self, name: str) -> str | None:
        return {"key": KEY, "other": SECRET}.get(name)

    async def environment(self, name: str) -> dict[str, str] | None:
        return {"OTHER": SECRET}

    async def route(self, name: str) -> Route | None:
        return ROUTE

    async def claim(self, token: str, key: str, seconds: float) -> float | Denial | Literal["taken"]:
        return "taken" if key in self.results else 1.0

    async def result(
        self, token_id: str, key: str, digest: bytes
    ) -> StoredResponse | Literal["taken", "other", "gone"] | None:
        return self.results.get(key)

    async def renew(self, token_id: str, key: str, until: float, seconds: float) -> float | None:
        return until

    async def complete(
        self, token_id: str, key: str, until: float, digest: bytes, response: StoredResponse | None
    ) -> None:
        if response is not None:
            self.results[key] = response

    async def release(self, token_id: str, key: str, until: float) -> None:
        pass

    def forwarded_for(self, peer: str | None, headers: Headers) -> str | None:
        return None

    def begin(self, context: GatewayContext) -> None:
        self.notes.append({"outcome": "begun", "id": context.id})

    def end(
        self, context: GatewayContext, outcome: str, status: int, bytes_out: int, upstream_id: str | None = None
    ) -> bool:
        self.notes.append({"outcome": outcome, "status": status, "target": context.target, "theirs": upstream_id})
        return True

    def cut(self, calls: int) -> None:
        self.notes.append({"outcome": "cut", "status": None})

    def is_writable(self) -> bool:
        return True


class Wire(asyncio.Transport):
    """A connection's transport, whose other end takes everything."""

    def __init__(self, protocol: asyncio.Protocol) -> None:
        super().__init__({"peername": ("127.0.0.1", 1)})
        self.written = bytearray()
        self._protocol = protocol
        self._closed = False

    def write(self, data: Any) -> None:
        self.written += data

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass  # nothing is ever left to be taken

    def is_closing(self) -> bool:
        return self._closed

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            asyncio.get_running_loop().call_soon(self._protocol.connection_lost, None)

    abort = close

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        pass

    def pause_reading(self) -> None:
        pass

    resume_reading = pause_reading


class Echo(MockTransport):
    """An upstream that takes the whole body first."""

    async def send(self, request: oo.Request) -> oo.Response:
        return await super().send(request.replace(body=await read_whole(request.body)))


def one(data: bytes) -> None:
    """Read one input; AssertionError, or whatever escapes, is a finding."""
    _noise.clear()
    kind, rest = data[:1], data[1:]
    if kind == b"r":
        answer_of(rest)
    elif kind in READERS:
        READERS[kind](rest.decode("utf-8", "surrogateescape"))


def answer_of(raw: bytes) -> tuple[list[oo.Request], bytes]:
    """The calls that some bytes of a caller's lead to, and what the caller is sent; as `one` checks them."""
    _noise.clear()
    with _listening():
        return _loop().run_until_complete(_answered(raw))


async def _answered(raw: bytes) -> tuple[list[oo.Request], bytes]:
    store = Memory()
    stack, api = Stack(store, store), Echo(_echo)
    stack._end.upstream = api
    front = Front(stack)
    protocol = Server(front.handle, front.refuse)()
    wire = Wire(protocol)
    protocol.connection_made(wire)
    half = len(raw) // 2
    for piece in (raw[:half], raw[half:]):
        if not wire.is_closing():
            protocol.data_received(piece)
        await _idle()
    wire.close()
    await _idle()
    await stack.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}
    for request in api.requests:
        _check_upstream(request)
    check_silence(bytes(wire.written))
    said = repr(store.notes)
    assert TOKEN not in said
    assert KEY not in said
    assert all(note["outcome"] != "failed" for note in store.notes), said
    assert _noise == [], _noise
    return api.requests, bytes(wire.written)


async def _idle() -> None:
    """Let everything run that need not wait for more bytes."""
    loop: Any = asyncio.get_running_loop()
    await asyncio.sleep(0)
    while loop._ready:
        await asyncio.sleep(0)


def _echo(request: oo.Request) -> Streamed:
    """What an upstream that hates its callers would do: send all that it got back, in pieces."""
    pairs = request.headers.pairs()
    text = "".join(f"{name}: {value}\n" for name, value in pairs).encode("utf-8", "surrogateescape")
    text += request.url.encode() + (request.body or b"")
    at = len(text) // 3
    headers = oo.Headers([*pairs, ("Set-Cookie", "a=b"), ("Connection", "x-a"), ("Content-Length", "5")])
    return Streamed([text[:at], text[at : 2 * at], text[2 * at :]], headers=headers)


def _check_upstream(request: oo.Request) -> None:
    """A call that the route allows, with the route's credential and no other."""
    assert request.url.startswith(f"{BASE}/v1/"), request.url
    assert re.fullmatch(r"[!-~]+", request.url), request.url
    assert urlsplit(request.url).netloc == "upstream.test"
    check_inside(request.url.removeprefix(f"{BASE}/").partition("?")[0], "/base/v1/")
    assert request.headers.get_all("Authorization") == [f"Bearer {KEY}"]
    assert request.headers.get_all("X-Key") == [KEY]
    plain = [name.lower().replace("_", "-") for name, _ in request.headers.pairs()]
    assert plain.count("authorization") == plain.count("x-key") == 1
    assert not {"cookie", "host", "connection", "transfer-encoding", "content-length", "upgrade"} & set(plain)
    for name, value in request.headers.pairs():
        assert re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name), name
        assert not re.search(r"[\r\n\0]", value)
        value.encode()


def check_inside(place: str, inside: str) -> None:
    """However often a server undoes the escapes, and however it reads what stands there, a place stays inside."""
    for _ in range(len(place) + 1):
        for text in (place, place.replace("\\", "/"), "/".join(s.partition(";")[0] for s in place.split("/"))):
            assert f"{posixpath.normpath('/base/' + text)}/".startswith(inside), place
            assert not {"..", "."} & {segment.strip() for segment in text.split("/")}, place
        assert URL(f"http://h/base/{place}", encoded=True).host == "h"
        place, before = unquote(place, errors="replace"), place
        if place == before:
            return


def check_silence(written: bytes) -> None:
    """Neither the credential nor what another token opens is in what a caller gets."""
    for hidden in (KEY, SECRET, KEY.replace("+", "%2B"), KEY.replace("/", "\\/")):
        assert hidden.encode() not in written
    assert b"set-cookie" not in written.partition(b"\r\n\r\n")[0].lower()


def _path(text: str) -> None:
    try:
        place = proxied(text)
    except ValueError as error:
        assert len(str(error)) < 100  # it is bounded, so it quotes nothing
        return
    assert re.fullmatch(r"[!-~]*", place)
    check_inside(place.partition("?")[0], "/base")
    # What is checked once passes again, and says the same.
    assert proxied(place) in (place, place.removeprefix("/"))


def _pattern(text: str) -> None:
    pattern, _, path = text.partition("\n")
    try:
        route = Route("x", BASE, allow=(pattern,))
        place = proxied(path).partition("?")[0]
    except (StoreError, ValueError):
        return
    prefix = re.split(r"[*?\[]", pattern.partition(" ")[2])[0]
    for method in ("GET", "POST"):
        if route.allows(method, place):
            assert pattern.partition(" ")[0] in ("*", method)
            assert f"/{place}".startswith(prefix)
            assert f"/{unquote(place)}".startswith(prefix)


_PRIVATE = [ipaddress.ip_network(each) for each in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")]


def _address(text: str) -> None:
    with suppress(ValueError):
        is_public(text)
    try:
        url = base_url(f"http://{text}")
        host = urlsplit(url).hostname or ""
        # What the C library takes for an address without asking anybody. aiohttp asks it, through the resolver that
        # leaves out what is not public, unless it knows an address itself.
        found = socket.getaddrinfo(host, 80, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except (ValueError, OSError):
        return
    try:
        check_literal(url)
    except oo.DoubleOError as error:
        assert error.reason == "argument"
        return
    for *_, address in found:
        ip = ipaddress.ip_address(str(address[0]).partition("%")[0])
        if is_ip_address(host) or is_public(str(ip)):
            assert not (ip.is_loopback or ip.is_link_local or ip.is_multicast), url
            assert not any(ip in network for network in _PRIVATE), url


def _token(text: str) -> None:
    if is_token(text):
        assert re.fullmatch(r"oo_[A-Za-z0-9_-]{49}", text)
    assert len(fingerprint(b"key", text)) == 32


READERS = {b"p": _path, b"a": _pattern, b"i": _address, b"t": _token}

_noise: list[str] = []


@cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda _, context: _noise.append(repr(context)))
    atexit.register(loop.close)
    return loop


class _Listener(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        _noise.append(record.getMessage())


@contextmanager
def _listening() -> Iterator[None]:
    listener, loggers = _Listener(logging.WARNING), [logging.getLogger(name) for name in ("oo.gateway", "aiohttp")]
    for logger in loggers:
        logger.addHandler(listener)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(listener)


_AUTH = b"Host: x\r\nAuthorization: Bearer " + TOKEN.encode() + b"\r\n"
_GET = b" HTTP/1.1\r\n" + _AUTH + b"\r\n"
SEEDS = (
    b"rGET /health HTTP/1.1\r\nHost: x\r\n\r\n",
    b"rGET /api/secret" + _GET,
    b"rGET /api/env" + _GET,
    b"rGET /api/proxy/v1/models?limit=5" + _GET,
    b"rGET /api/proxy/v1/a%2fb" + _GET + b"HEAD /api/proxy/v1/x" + _GET,
    b"rPOST /api/proxy/v1/x HTTP/1.1\r\n" + _AUTH + b"Content-Length: 2\r\nIdempotency-Key: k\r\n\r\n{}",
    b"rPOST /api/proxy/v1/x HTTP/1.1\r\n" + _AUTH + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nT: x\r\n\r\n",
    b"rPOST /api/proxy/v1/x HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n{}",
    b"rPUT /api/proxy/v1/x HTTP/1.1\r\n" + _AUTH + b"Expect: 100-continue\r\nContent-Length: 1\r\n\r\nx",
    b"rGET /api/proxy/v1/x HTTP/1.0\r\n"
    + _AUTH
    + b"Cookie: a=b\r\nX_Key: x\r\nConnection: x-a, close\r\nX-A: b\r\n\r\n",
    b"rGET /api/proxy/v1/x HTTP/1.1\r\n"
    + _AUTH
    + b"X-Forwarded-Host: y\r\nX-Latin: \xe9\r\nUpgrade: websocket\r\n\r\n",
    *(
        b"p" + path
        for path in (b"v1/models?limit=5", b"/v1/%2e%2e/x", b"v1/%252e%252e;a/", b"//h/x", b"a b/\xc3\xa9%20")
    ),
    *(b"a" + each for each in (b"POST /v1/*\nv1/chat", b"* /v1/[ab]?\nv1/ax", b"GET /v1/a%2fb\nv1/a%2fb")),
    *(b"i" + each for each in (b"127.1", b"0x7f.1", b"[::ffff:10.0.0.1]:80", b"8.8.8.8", b"[64:ff9b::a00:1]", b"1.")),
    b"too_" + b"A" * 49,
)
"""Inputs that a run begins with."""

WORDS = (
    *(b"/api/proxy/", b"/api/secret", b"/api/env", b"/health", b"v1/", b"HTTP/1.1", b"HTTP/1.0", b"\r\n", b"\r\n\r\n"),
    *(b"..", b"%2e", b"%252e", b"%2f", b"%5c", b"%25", b"//", b"\\", b"#", b"?", b";", b"%00", b"%c0%ae", b"http://h/"),
    *(b"GET", b"POST", b"HEAD", b"TRACE", b"CONNECT", b"OPTIONS", b"PRI", b"\xc3\xa9", b"\xff", b"\0", b"%u002e"),
    *(
        f"\r\n{name}: ".encode()
        for name in (
            "Content-Length Transfer-Encoding Connection Host Authorization Expect Upgrade Idempotency-Key Cookie "
            "Content-Encoding X_Key X-Key X-Forwarded-For X-HTTP-Method-Override Sec-WebSocket-Key1 Trailer TE"
        ).split()
    ),
    *(b"chunked", b"100-continue", b"close", b"websocket", b"h2c", b"gzip", b"Bearer ", TOKEN.encode(), b"0\r\n\r\n"),
    *(b"127.0.0.1", b"::ffff:", b"64:ff9b::", b"0x7f", b"[", b"]", b":80", b"fe80::1%25eth0", b"2002:", b"169.254."),
    *(b"POST /", b"* /", b"*", b"[", b"[!", b"]", b"\n"),
)
"""What mutations are made of."""
