"""What this library leans on inside aiohttp's client.

| name | why |
|---|---|
| `client_proto.ResponseHandler`: `transport`, `should_close`, `is_connected`, `close`, `abort` | what is kept |
| `ResponseHandler`: `set_exception`, `connection_lost`, `data_received` | how an answer ends, and whether it began |
| `ResponseHandler._reading_paused` | what was not paused is not resumed |
| `ResponseHandler._payload` | a body whose connection has ended is told so |
| `TCPConnector._factory`, called without arguments | the connector makes these connections |
| `TCPConnector._create_connection` | closing the client ends the making of a connection |
| `TCPConnector._get`, which asks `is_connected` of what is kept | a kept one is known, and left where it must be new |
| `TCPConnector._conns`, `_acquired`, `_keepalive_timeout`, `_release` | it is taken and given back at less cost |
| `TCPConnector._waiters`, futures by key | who waits for a connection is told that the client was closed |
| `TCPConnector._close`, called without a loop | the connections of a loop that ended without order |
| `TCPConnector.connect` of a ClientRequest, its `connection_key`; `Connection._protocol` | one without a session |
| `ResponseHandler.set_response_params`, `read` | an answer without a session |
| `ClientSession._request`, unless it was patched | a test's mocks see each request |
| `ClientSession._retry_connection` | how often a request is sent is decided here |
| `ClientResponse._protocol`, `EMPTY_PAYLOAD` | whether a body without a length was cut short |
| `ClientWebSocketResponse._response` | the connection of a WebSocket is ended without its closing handshake |
| `DummyCookieJar.update_cookies_from_headers` | no cookies are looked at |
| `http.HttpProcessingError` | what the parser raises for a broken body |
"""

from __future__ import annotations

import asyncio
import sys
import time
import traceback
from collections.abc import Sequence
from contextvars import ContextVar
from functools import lru_cache, partial
from inspect import signature
from typing import Any, NamedTuple

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection as Held
from yarl import URL

from .._core.io import unwritten
from .._core.write_batch import BatchedTransport, WriteBatch
from .._http.headers import FRAMING
from .._version import __version__
from ..exceptions import DoubleOError
from ._asyncio_patches import is_truncated, read_rest_of_tls, rest_of
from .deadlines import Deadlines
from .proxy_env import name_of_proxy
from .reader import ACCEPT_ENCODING
from .strict_http import LONGEST_LINE
from .unix_sockets import socket_of

fresh: ContextVar[bool] = ContextVar("fresh", default=False)
"""Whether this task's request goes over a new connection: a kept one may be as stale as the one it was lost with."""

DEFAULT_FIELDS = {"Accept-Encoding": ACCEPT_ENCODING, "Accept": "*/*", "User-Agent": f"double-o/{__version__}"}
"""The fields that a request has unless it brings its own, in their order."""

_NEWEST = (3, 14)
"""The newest aiohttp whose connections were seen to work without a session."""
_REQUEST = aiohttp.ClientSession._request


def _has_known_shape() -> bool:
    """Whether what an exchange without a session calls and reads is there, and takes what it is given."""
    settings = dict.fromkeys(("skip_payload", "read_until_eof", "auto_decompress", "max_line_size", "max_field_size"))
    try:
        signature(aiohttp.ClientRequest).bind("GET", None, loop=None, ssl=None)
        signature(aiohttp.TCPConnector.connect).bind(None, None, [], None)
        signature(aiohttp.TCPConnector._release).bind(None, None, None, should_close=True)
        signature(ResponseHandler.set_response_params).bind(None, **settings)
        signature(ResponseHandler.read).bind(None)
        known = hasattr(aiohttp.ClientRequest, "connection_key") and isinstance(vars(Held)["protocol"], property)
        kept, held = aiohttp.BaseConnector.__init__.__code__.co_names, Held.__init__.__code__.co_names
    except (AttributeError, KeyError, TypeError):
        return False
    return known and "_protocol" in held and {"_conns", "_acquired", "_keepalive_timeout"} <= {*kept}


_TRIED = tuple(map(int, aiohttp.__version__.split(".")[:2])) <= _NEWEST and _has_known_shape()


class NoCookies(aiohttp.DummyCookieJar):
    """Keeps no cookies, and does not look at those that come: aiohttp logs the names of those that are none."""

    def update_cookies_from_headers(self, headers: Sequence[str], response_url: URL) -> None:
        pass


def session_over(connector: aiohttp.BaseConnector | None, **settings: Any) -> aiohttp.ClientSession:
    """A session that adds nothing to a request but what it lacks, and leaves its answer as it came."""
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=NoCookies(),
        headers=DEFAULT_FIELDS,
        auto_decompress=False,
        max_line_size=LONGEST_LINE,
        max_field_size=LONGEST_LINE,
        **settings,
    )


class Target(NamedTuple):
    """What aiohttp's connector asks for: a request, and the key of the connections that it may take."""

    request: aiohttp.ClientRequest
    key: Any


class Connector(aiohttp.TCPConnector):
    """aiohttp's connector. Closing it ends the making of a connection too, with a ClientConnectionError."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._factory = partial(Connection, self._loop, WriteBatch(self._loop))  # type: ignore[assignment]  # invariant
        self._unfinished: set[asyncio.Task[ResponseHandler]] = set()
        self.deadlines = Deadlines(self._loop)
        """When the exchanges over these connections must have their answers."""
        self.target = lru_cache(64)(self._target)
        """Where a connection to an origin is looked for and made, by the TLS context that is given."""

    def _target(self, origin: URL, ssl: Any) -> Target:
        request = aiohttp.ClientRequest("GET", origin, loop=self._loop, ssl=ssl)
        return Target(request, request.connection_key)

    def take(self, target: Target) -> Any:
        """A connection that was kept, or None. It is to be given back."""
        kept = self._conns.get(target.key)
        while kept:
            connection, since = kept.popleft()
            if not kept:
                del self._conns[target.key]
            if connection.is_connected() and time.monotonic() - since <= self._keepalive_timeout:  # type: ignore[operator]  # None with force_close
                self._acquired.add(connection)
                return connection
            connection.close()
        return None

    async def made(self, target: Target, timeout: aiohttp.ClientTimeout) -> Any:
        """A connection, made where none was kept. It is to be given back."""
        held: Any = await self.connect(target.request, [], timeout)
        connection, held._protocol = held.protocol, None  # so that it is not given back when `held` is let go
        return connection

    def give_back(self, target: Target, connection: Any, *, close: bool) -> None:
        """Keep a connection for another request, or close it."""
        self._release(target.key, connection, should_close=close)

    async def close(self, **settings: Any) -> None:
        for making in self._unfinished:
            making.cancel()
        # aiohttp cancels who waits for a connection, as if the caller had been cancelled.
        for waiting in [future for futures in self._waiters.values() for future in futures]:
            if not waiting.done():
                waiting.set_exception(aiohttp.ClientConnectionError())
        await super().close(**settings)

    async def _made(self, request: Any, *args: Any, **keywords: Any) -> ResponseHandler:
        path = socket_of(request.url.host or "")
        if path is None:
            try:
                return await super()._create_connection(request, *args, **keywords)
            except aiohttp.ClientConnectorError as error:  # which a frame of its own traceback holds
                traceback.clear_frames(error.__traceback__)
                traceback.clear_frames(error.os_error.__traceback__)
                raise
        try:
            _, protocol = await self._loop.create_unix_connection(self._factory, path)
        except OSError as error:
            raise aiohttp.ClientConnectionError from error
        return protocol

    async def _create_connection(self, *args: Any, **keywords: Any) -> ResponseHandler:
        # On a task of its own: when closing cancels that, the caller must not seem cancelled.
        making = asyncio.ensure_future(self._made(*args, **keywords))
        self._unfinished.add(making)
        try:
            await asyncio.wait([making])
            if making.cancelled():
                raise aiohttp.ClientConnectionError
            return making.result()
        except asyncio.CancelledError:
            making.cancel()
            await asyncio.wait([making])
            # It may have been made in the very turn in which the caller was cancelled.
            if not making.cancelled() and making.exception() is None:
                making.result().close()
            raise
        finally:
            self._unfinished.discard(making)
            del making  # its error holds this frame


def goes_without_session() -> bool:
    """Whether an exchange may go around aiohttp's session: its version and shape are known, and nobody mocks it."""
    return _TRIED and aiohttp.ClientSession._request is _REQUEST


def start_reading(connection: Any, has_body: bool) -> None:
    """Have a connection read one answer. ClientError where it is lost already."""
    if connection.transport is None:
        raise aiohttp.ServerDisconnectedError
    connection.set_response_params(
        skip_payload=not has_body,
        read_until_eof=True,
        auto_decompress=False,
        max_line_size=LONGEST_LINE,
        max_field_size=LONGEST_LINE,
    )


class Connection(ResponseHandler):
    """aiohttp's end of a connection, less some habits."""

    truncated = False
    """Whether the connection ended without TLS's close_notify."""

    batched: BatchedTransport
    """Its transport, to write to beside many others. What aiohttp writes goes to the one beneath."""

    _reused = _answered = False

    def __init__(self, loop: asyncio.AbstractEventLoop, batch: WriteBatch) -> None:
        super().__init__(loop)
        self._batch = batch

    def expire(self) -> None:
        """Fail what is waited for: its time is over."""
        self.set_exception(asyncio.TimeoutError())

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.batched = BatchedTransport(transport, self._batch)
        read_rest_of_tls(transport)

    def data_received(self, data: bytes) -> None:
        self._answered = True
        super().data_received(data)

    def resume_reading(self, *args: Any, **keywords: Any) -> None:
        # aiohttp has the parser and the transport go on after each body, paused or not.
        if self._reading_paused:
            super().resume_reading(*args, **keywords)

    def is_connected(self) -> bool:
        # Asked of a kept connection that is about to be used.
        self._reused, self._answered = True, False
        # What came over an idle connection would be taken for the answer to the next request.
        return not (self.should_close or fresh.get()) and super().is_connected()

    def close(self) -> None:
        # What the server does not read would keep the connection, and itself, for as long as the server likes.
        if self.transport is not None and unwritten(self.transport):
            self.transport.abort()
        payload = self._payload
        super().close()
        _fail(payload, aiohttp.ClientConnectionError())

    def abort(self) -> None:
        payload = self._payload
        super().abort()
        _fail(payload, aiohttp.ClientConnectionError())

    def set_exception(self, exc: BaseException, *cause: BaseException) -> None:
        if isinstance(exc, OSError) and not isinstance(exc, asyncio.TimeoutError):  # from 3.11 on, that is one too
            self._read_rest()
        if self._reused and not self._answered:
            exc.stale = True  # type: ignore[attr-defined]  # for `is_stale`
        payload = self._payload
        super().set_exception(exc, *cause)
        _fail(payload, exc, *cause)

    def connection_lost(self, exc: BaseException | None) -> None:
        transport = self.transport
        if transport is not None:
            if exc is not None:
                self._read_rest()
            self.truncated = is_truncated(transport.get_extra_info("ssl_object"))
        super().connection_lost(exc)
        if transport is not None:
            # Python 3.10 warns of a TLS transport that its peer closed and nobody else did.
            transport.close()

    def _read_rest(self) -> None:
        # Of TLS, `read_rest_of_tls` has read it.
        if self.transport is not None and self.transport.get_extra_info("ssl_object") is None:
            for data in rest_of(self.transport):
                self.data_received(data)


def _fail(payload: aiohttp.StreamReader | None, exc: BaseException, *cause: BaseException) -> None:
    # Whoever reads a body would wait for ever: aiohttp tells only who waits for an answer's head, and lets go of a body
    # whose connection is closed.
    if payload is not None and not payload.is_eof() and payload.exception() is None:
        payload.set_exception(exc, *cause)


def is_stale(error: BaseException) -> bool:
    """Whether a request failed because its kept connection was closed before any byte of the answer came."""
    return isinstance(error, (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)) and hasattr(error, "stale")


def connection_reset(answer: Any) -> BaseException | None:
    # The end of the connection is the end of a body that has no other; to aiohttp a reset is such an end as well, and
    # so is one without close_notify (RFC 9112, 9.8).
    if answer.content is aiohttp.EMPTY_PAYLOAD or not answer.headers.keys().isdisjoint(FRAMING):
        return None
    protocol: Any = answer._protocol
    lost = protocol.exception() if protocol is not None else None
    if isinstance(protocol, Connection) and protocol.truncated:
        lost = aiohttp.ClientOSError()
    return lost if isinstance(lost, aiohttp.ClientOSError) else None


def abort_socket(socket: aiohttp.ClientWebSocketResponse) -> None:
    """End the connection of a WebSocket, without the closing handshake."""
    socket._response.close()


def check_tunnel(url: URL, proxy: str | None) -> None:
    """DoubleOError (reason "argument") for TLS within TLS, which asyncio has from Python 3.11 on."""
    if sys.version_info < (3, 11) and url.scheme == "https" and proxy is not None and proxy.startswith("https:"):
        what = f"asyncio reaches no https host through the https proxy {name_of_proxy(proxy)} before Python 3.11"
        raise DoubleOError(f"{what}; name one of http, or exempt the host by NO_PROXY", reason="argument")
