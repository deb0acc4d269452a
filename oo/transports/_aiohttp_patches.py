"""What this library leans on inside aiohttp's client."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler
from yarl import URL

_FRAMING = ("Content-Length", "Transfer-Encoding")


class NoCookies(aiohttp.DummyCookieJar):
    """Keeps no cookies, and does not look at those that come: aiohttp logs the names of those that are none."""

    def update_cookies_from_headers(self, headers: Sequence[str], response_url: URL) -> None:
        pass


class Connector(aiohttp.TCPConnector):
    """aiohttp's connector. Closing it ends the making of a connection too, with a ClientConnectionError."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._unfinished: set[asyncio.Task[ResponseHandler]] = set()

    async def close(self, **settings: Any) -> None:
        for making in self._unfinished:
            making.cancel()
        await super().close(**settings)

    async def _create_connection(self, *args: Any, **keywords: Any) -> ResponseHandler:
        # On a task of its own: when closing cancels that, the caller must not seem cancelled.
        making = asyncio.ensure_future(super()._create_connection(*args, **keywords))
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
    """aiohttp's end of a connection, less four habits."""

    def is_connected(self) -> bool:
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
        payload = self._payload
        super().set_exception(exc, *cause)
        _fail(payload, exc, *cause)

    def connection_lost(self, exc: BaseException | None) -> None:
        transport = self.transport
        super().connection_lost(exc)
        if transport is not None:
            # Python 3.10 warns of a TLS transport that its peer closed and nobody else did.
            transport.close()


def _fail(payload: aiohttp.StreamReader | None, exc: BaseException, *cause: BaseException) -> None:
    # Whoever reads a body would wait for ever: aiohttp tells only who waits for an answer's head, and lets go of a body
    # whose connection is closed.
    if payload is not None and not payload.is_eof() and payload.exception() is None:
        payload.set_exception(exc, *cause)


def connection_reset(answer: aiohttp.ClientResponse) -> BaseException | None:
    # The end of the connection is the end of a body that has no other; to aiohttp a reset is such an end as well.
    if answer.content is aiohttp.EMPTY_PAYLOAD or not answer.headers.keys().isdisjoint(_FRAMING):
        return None
    protocol: Any = answer._protocol
    lost = protocol.exception() if protocol is not None else None
    return lost if isinstance(lost, aiohttp.ClientOSError) else None
