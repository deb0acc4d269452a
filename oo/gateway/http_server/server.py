"""aiohttp.web's server, less four habits: it quotes what it could not read, to the caller and to the log, lets a
request wait for a body that has broken, parses one that nobody will read, and waits for a caller that is slow, or one
too many.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import sys
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from aiohttp import web
from aiohttp.web_protocol import _ErrInfo

from .data_rate import MinDataRate

logger = logging.getLogger("oo.gateway")

HEADER_TIMEOUT = 10.0
"""Seconds in which a request's head must be whole, from its first byte on; the first one's from the connection on."""
KEEPALIVE_TIMEOUT = 75.0
"""Seconds that a connection is kept between two requests, and with what came of a head before the last one was
answered: aiohttp's parsers do not tell whether they hold a part of one."""
PIPELINED = 128
"""Requests that a caller may send before their answers; later aiohttps (3.14.3) take fewer at a time by themselves."""
MAX_CONNECTIONS = 4096
"""Connections that a process holds at once, where it may have that many files open."""

BACKLOG = 128
"""Connections that wait to be taken, and that asyncio takes in one go before it tells of any."""

_OTHER = 64  # files that are no connection: the vault, the audit, what Python keeps open
_UNSENT: int | None = getattr(socket, "TCP_NOTSENT_LOWAT", None)
_GRACE = 2.0  # seconds that calls are given when the server ends

Answer: TypeAlias = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
"""Answers a request."""

Refuse: TypeAlias = Callable[[web.BaseRequest], web.Response]
"""Answers what was no request; the connection ends after it."""


class Server(web.Server):
    """Hands requests to `answer`, bodies as they were sent, and what is no HTTP to `refuse`. When it holds as many
    connections as it may, the next takes the place of one that nothing is done for: the oldest of those that have
    not asked yet, else the one whose last answer is the longest ago."""

    def __init__(self, answer: Answer, refuse: Refuse) -> None:
        # Cancelled with its caller's connection: an upstream call that nobody waits for is not made to its end.
        super().__init__(
            self._answered,
            handler_cancellation=True,
            keepalive_timeout=KEEPALIVE_TIMEOUT,
            access_log=None,
            auto_decompress=False,
        )
        self.refuse = refuse
        self._answer = answer
        self._room = _room()
        self._held: set[_Connection] = set()
        # Dicts for their order.
        self._silent: dict[object, _Connection] = {}
        self._resting: dict[object, _Connection] = {}

    def __call__(self) -> web.RequestHandler:
        return _Connection(self, self.refuse, loop=self._loop, **self._kwargs)

    def hold(self, connection: _Connection) -> None:
        """Count a new connection in."""
        if len(self._held) >= self._room:
            for waiting in (self._silent, self._resting):
                if waiting:
                    next(iter(waiting.values())).cut()
                    break
            else:
                connection.cut()
                return
        self._held.add(connection)
        self._silent[connection] = connection

    def let_go(self, connection: _Connection) -> None:
        """Count a connection out."""
        self._held.discard(connection)
        self._silent.pop(connection, None)
        self._resting.pop(connection, None)

    async def end(self) -> None:
        """Let the calls that are under way end, but not for long, and close the connections."""
        await asyncio.sleep(0)  # what was accepted last begins
        self.pre_shutdown()
        await self.shutdown(_GRACE)

    async def _answered(self, request: web.BaseRequest) -> web.StreamResponse:
        connection = request.protocol
        self._silent.pop(connection, None)
        self._resting.pop(connection, None)
        try:
            return await self._answer(request)
        finally:
            if connection in self._held:
                self._resting[connection] = connection


class _Connection(web.RequestHandler):
    __slots__ = ("_head", "_pace", "_refuse", "_server")

    def __init__(self, server: Server, refuse: Refuse, **settings: Any) -> None:
        super().__init__(server, **settings)
        self._server = server
        self._refuse = refuse
        self._head: asyncio.TimerHandle | None = None
        self._pace: MinDataRate | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        sock = transport.get_extra_info("socket")
        if _UNSENT is not None and sock is not None:
            # Else the system takes megabytes for a caller who reads nothing, and shows slow reading in leaps of them.
            sock.setsockopt(socket.IPPROTO_TCP, _UNSENT, 128 << 10)
        # `pause_writing` then means that something is left to be taken, however little.
        transport.set_write_buffer_limits(high=1)  # type: ignore[attr-defined]  # typed as what cannot be written to
        self._head = self._loop.call_later(HEADER_TIMEOUT, self.cut)
        self._server.hold(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._server.let_go(self)
        self._stop_head()
        if self._pace is not None:
            self._pace.stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        before = self._request_count
        super().data_received(data)
        if self._request_count > before:
            self._stop_head()
            if len(self._messages) > PIPELINED:
                self.cut()
        elif self._head is None and self._waiter is not None and data:
            self._head = self._loop.call_later(HEADER_TIMEOUT, self.cut)
        if self._messages and isinstance(self._messages[-1][0], _ErrInfo):
            self._break_bodies()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._pace = MinDataRate(self._taken, self.cut)

    def resume_writing(self) -> None:
        if self._pace is not None:
            self._pace.stop()
        super().resume_writing()

    def cut(self) -> None:
        """End the connection at once, whatever its caller has not taken."""
        self._server.let_go(self)
        if self.transport is not None:
            self.transport.abort()

    def handle_error(self, request: web.BaseRequest, *_what: object) -> web.StreamResponse:
        response = self._refuse(request)
        response.force_close()
        return response

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send the answer. One that goes before the whole body has come is the connection's last (RFC 9112, 9.6)."""
        if request.content.is_eof():
            return await super().finish_response(request, resp, start_time)
        resp.force_close()
        # The rest is taken, lest a reset overtake the answer, but not parsed: one-byte chunks would hold up all others.
        self.close()
        sent = await super().finish_response(request, resp, start_time)
        if self.transport is not None and self.transport.can_write_eof():
            with contextlib.suppress(OSError):  # the caller has left
                self.transport.write_eof()
        return sent

    def log_exception(self, *_what: object, exc_info: object = None) -> None:
        logger.error("a connection failed: %s", type(exc_info).__name__)

    def _break_bodies(self) -> None:
        # The error stands in line behind the request whose body it broke, and that one would wait for the rest.
        current = [] if self._current_request is None else [self._current_request.content]
        for body in [*current, *(body for _, body in self._messages)]:
            if not body.is_eof():
                body.set_exception(web.RequestPayloadError())
                body.feed_eof()  # so that nothing is read of it after the answer

    def _taken(self) -> int:
        return 0 if self.transport is None else -self.transport.get_write_buffer_size()

    def _stop_head(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None


def _room() -> int:
    """How many connections a process may hold: each caller's call may need an upstream's."""
    if sys.platform == "win32":
        return MAX_CONNECTIONS
    import resource

    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return MAX_CONNECTIONS
    return min(MAX_CONNECTIONS, max(16, (files - BACKLOG - _OTHER) // 2))
