"""What this library leans on inside aiohttp's client.

| name | why |
|---|---|
| `client_proto.ResponseHandler`: `transport`, `should_close`, `is_connected`, `close`, `abort` | what is kept |
| `ResponseHandler`: `set_exception`, `connection_lost`, `data_received` | how an answer ends, and whether it began |
| `ResponseHandler._payload` | a body whose connection has ended is told so |
| `TCPConnector._factory`, called without arguments | the connector makes these connections |
| `TCPConnector._create_connection` | closing the client ends the making of a connection |
| `TCPConnector._get`, which asks `is_connected` of a kept connection | it is seen that one was kept |
| `TCPConnector._conns`, by keys that have `host` and `port` | a stale connection is not taken again, nor its like |
| `TCPConnector._waiters`, futures by key | who waits for a connection is told that the client was closed |
| `TCPConnector._close`, called without a loop | the connections of a loop that ended without order |
| `Connection._notify_release` | the timer of an answer's head ends, though the body goes on |
| `ClientSession._retry_connection` | how often a request is sent is decided here |
| `ClientResponse._protocol`, `EMPTY_PAYLOAD` | whether a body without a length was cut short |
| `ClientWebSocketResponse._response` | the connection of a WebSocket is ended without its closing handshake |
| `DummyCookieJar.update_cookies_from_headers` | no cookies are looked at |
| `http.HttpProcessingError` | what the parser raises for a broken body |
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from functools import partial
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler
from yarl import URL

from .unix_sockets import socket_of

_PIECE = 64 << 10  # bytes
_FRAMING = ("Content-Length", "Transfer-Encoding")


class NoCookies(aiohttp.DummyCookieJar):
    """Keeps no cookies, and does not look at those that come: aiohttp logs the names of those that are none."""

    def update_cookies_from_headers(self, headers: Sequence[str], response_url: URL) -> None:
        pass


class Connector(aiohttp.TCPConnector):
    """aiohttp's connector. Closing it ends the making of a connection too, with a ClientConnectionError."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._factory = partial(Connection, loop=self._loop)  # type: ignore[assignment]  # partial is invariant
        self._unfinished: set[asyncio.Task[ResponseHandler]] = set()

    async def close(self, **settings: Any) -> None:
        for making in self._unfinished:
            making.cancel()
        # aiohttp cancels who waits for a connection, as if the caller had been cancelled.
        for waiting in [future for futures in self._waiters.values() for future in futures]:
            if not waiting.done():
                waiting.set_exception(aiohttp.ClientConnectionError())
        await super().close(**settings)

    def close_idle(self, host: str | None, port: int | None) -> None:
        """Close the kept connections to a place, which may be as stale as one of them was."""
        for key in [key for key in self._conns if (key.host, key.port) == (host, port)]:
            for protocol, _ in self._conns.pop(key):
                protocol.close()

    async def _made(self, request: Any, *args: Any, **keywords: Any) -> ResponseHandler:
        path = socket_of(request.url.host or "")
        if path is None:
            return await super()._create_connection(request, *args, **keywords)
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


class Connection(ResponseHandler):
    """aiohttp's end of a connection, less some habits."""

    truncated = False
    """Whether the connection ended without TLS's close_notify."""

    _reused = _answered = False

    def data_received(self, data: bytes) -> None:
        self._answered = True
        super().data_received(data)

    def is_connected(self) -> bool:
        # Asked of a kept connection that is about to be used.
        self._reused, self._answered = True, False
        # What came over an idle connection would be taken for the answer to the next request.
        return not self.should_close and super().is_connected()

    def close(self) -> None:
        # What the server does not read would keep the connection, and itself, for as long as the server likes.
        if self.transport is not None and self.transport.get_write_buffer_size():
            self.transport.abort()
        payload = self._payload
        super().close()
        _fail(payload, aiohttp.ClientConnectionError())

    def abort(self) -> None:
        payload = self._payload
        super().abort()
        _fail(payload, aiohttp.ClientConnectionError())

    def set_exception(self, exc: BaseException, *cause: BaseException) -> None:
        if isinstance(exc, OSError):
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
            self.truncated = _is_truncated(transport.get_extra_info("ssl_object"))
        super().connection_lost(exc)
        if transport is not None:
            # Python 3.10 warns of a TLS transport that its peer closed and nobody else did.
            transport.close()

    def _read_rest(self) -> None:
        # asyncio stops reading when it cannot write. An answer that came before the server reset the connection is in
        # the socket still.
        transport = self.transport
        if transport is None or transport.get_extra_info("ssl_object") is not None:
            return
        try:
            with transport.get_extra_info("socket").dup() as sock:
                while data := sock.recv(_PIECE):
                    self.data_received(data)
        except (AttributeError, OSError):  # no socket at all, a closed one, or nothing more in it
            pass


def _is_truncated(tls: ssl.SSLObject | None) -> bool:
    if tls is None:
        return False
    try:
        tls.read(1)
    except ssl.SSLWantReadError:  # where close_notify came, there is no more to wait for
        return True
    except (OSError, ValueError):
        pass
    return False


def _fail(payload: aiohttp.StreamReader | None, exc: BaseException, *cause: BaseException) -> None:
    # Whoever reads a body would wait for ever: aiohttp tells only who waits for an answer's head, and lets go of a body
    # whose connection is closed.
    if payload is not None and not payload.is_eof() and payload.exception() is None:
        payload.set_exception(exc, *cause)


def is_stale(error: BaseException) -> bool:
    """Whether a request failed since its connection, a kept one, was closed before any byte of an answer came."""
    return isinstance(error, (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)) and hasattr(error, "stale")


def connection_reset(answer: aiohttp.ClientResponse) -> BaseException | None:
    # The end of the connection is the end of a body that has no other; to aiohttp a reset is such an end as well, and
    # so is one without close_notify (RFC 9112, 9.8).
    if answer.content is aiohttp.EMPTY_PAYLOAD or not answer.headers.keys().isdisjoint(_FRAMING):
        return None
    protocol: Any = answer._protocol
    lost = protocol.exception() if protocol is not None else None
    if isinstance(protocol, Connection) and protocol.truncated:
        lost = aiohttp.ClientOSError()
    return lost if isinstance(lost, aiohttp.ClientOSError) else None


def abort_socket(socket: aiohttp.ClientWebSocketResponse) -> None:
    """End the connection of a WebSocket, without the closing handshake."""
    socket._response.close()
