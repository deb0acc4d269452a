"""Hardens aiohttp.web: parse errors don't echo input, a broken body fails its request at once, unread bodies aren't
parsed, slow and excess connections are closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeAlias, cast

from ..._core.io import unwritten
from ..._core.write_batch import BatchedTransport, WriteBatch
from . import web
from ._aiohttp_patches import BaseConnection, BaseServer, Refuse, last_request
from ._sslproto_patches import BUFFER, TLSConnection
from .data_rate import MinDataRate
from .head_size import MAX_HEAD

HEADER_TIMEOUT = 10.0
"""Seconds from a request's first byte until its head must be whole; for the first request, from the connection on."""
KEEPALIVE_TIMEOUT = 75.0
"""Seconds that a connection is kept between two requests. A part of a head that came before the last answer does not
shorten them, since aiohttp's parsers don't tell whether they hold one."""
PIPELINED = 128
"""Requests that a caller may send before their answers. aiohttp from 3.14.3 on takes fewer at a time by itself."""
MAX_CONNECTIONS = 4096
"""Connections that a process holds at once, if it may open that many files."""

BACKLOG = 128
"""Connections that wait to be accepted. asyncio accepts that many in one go before it announces any."""
SPEAK_WITHIN = 1.0
"""Seconds that a connection is given to send its next request before it may have to give way."""

_UNIX = getattr(socket, "AF_UNIX", None)
_OTHER_FILES = 64  # files that are no connection: the vault, the audit, what Python keeps open
_NOTSENT_LOWAT: int | None = getattr(socket, "TCP_NOTSENT_LOWAT", None)
_SHUTDOWN_TIMEOUT = 2.0  # seconds that calls which are cut are given to clean up
_TURN = 0.01  # seconds in which a connection that was accepted is made
_LOOK = 0.05  # seconds between two looks at what is left, while the server drains

Answer: TypeAlias = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
"""Answers a request."""


class Server(BaseServer):
    """Hands requests to `answer`, with their bodies as they were sent, and what is no HTTP to `refuse`.

    When it holds as many connections as it may, a new one takes the place of the oldest that has sent no request yet,
    else of the one that has been idle longest, if that has had a second to speak. Where none has, the new one is taken
    in beside them, up to BACKLOG of them. If every connection is being answered, the new one is closed.
    """

    def __init__(self, answer: Answer, refuse: Refuse, limit: int | None = None) -> None:
        """`limit` is how many connections it holds at most, if that is fewer than it could."""
        super().__init__(
            self._answered,
            keepalive_timeout=KEEPALIVE_TIMEOUT,
            access_log=None,
            auto_decompress=False,
            # What is larger was refused before it is parsed.
            max_line_size=MAX_HEAD,
            max_field_size=MAX_HEAD,
        )
        self.refuse = refuse
        self._answer = answer
        self._limit = connection_limit(limit)
        self._listener: asyncio.Server | None = None
        self._tracked: set[Connection] = set()
        self._encrypted: set[TLSConnection] = set()
        self._buffer = bytearray(BUFFER)
        self.writes = WriteBatch(self._loop)
        self.made = 0  # connections so far
        self._begun = 0  # and those whose handshake may not be over
        # Dicts for their order, with the time since when: connections without a request yet, and those between two.
        self._fresh: dict[object, float] = {}
        self._idle: dict[object, float] = {}

    def __call__(self) -> Connection:
        self._begun += 1
        return Connection(self, self.refuse)

    async def listen(self, sock: socket.socket, tls: ssl.SSLContext | None = None) -> None:
        """Take connections from a bound socket, over TLS where a context is given, until `drain` or `end`."""
        made = self if tls is None else partial(self._over_tls, tls)
        self._listener = await asyncio.get_running_loop().create_server(made, sock=sock, backlog=BACKLOG)

    def _over_tls(self, tls: ssl.SSLContext) -> asyncio.BaseProtocol:
        return self.encrypted(self(), tls)

    def encrypted(
        self, connection: Connection, tls: ssl.SSLContext, ended: Callable[[], object] = lambda: None
    ) -> TLSConnection:
        """The TLS of a connection. Once what is beneath it is lost, the connection counts no more, and `ended` is
        called."""

        def lost() -> None:
            self._encrypted.discard(made)
            connection.tls = None  # which holds it
            self.untrack(connection)
            ended()

        made = connection.tls = TLSConnection(connection, tls, HEADER_TIMEOUT, lost, self._buffer)
        self._encrypted.add(made)
        return made

    def exchange(self, outer: Connection, inner: Connection) -> None:
        """Count a connection in the place of the one that carried it. It has sent no request yet."""
        self.untrack(outer)
        self._tracked.add(inner)
        self._fresh[inner] = time.monotonic()

    def track(self, connection: Connection) -> None:
        """Count a new connection, and abort another or this one if there are too many."""
        if connection in self._tracked:  # in the place of another
            return
        self.made += 1
        now = time.monotonic()
        if len(self._tracked) >= self._limit and not self._give_way(now):
            connection.abort()
            return
        self._tracked.add(connection)
        self._fresh[connection] = now

    def untrack(self, connection: Connection) -> None:
        """Count a connection no longer."""
        self._tracked.discard(connection)
        self._fresh.pop(connection, None)
        self._idle.pop(connection, None)

    def _give_way(self, now: float) -> bool:
        """Whether there is room for one more, made by ending another if need be."""
        for waiting in (self._fresh, self._idle):
            oldest = next(iter(waiting.items()), None)
            if oldest is not None and now - oldest[1] >= SPEAK_WITHIN:
                cast("Connection", oldest[0]).abort()
                return True
        return bool(self._fresh or self._idle) and len(self._tracked) < self._limit + BACKLOG

    async def drain(self, grace: float, hurry: asyncio.Event, busy: Callable[[], int]) -> int:
        """Listen no more, answer what is under way, and end each connection once that is done or it has been silent
        for a second.

        Returns how many calls are left after `grace` seconds, or when `hurry` is set. `busy` tells how many there are,
        those whose caller has left included.
        """
        self._answer = _last(self._answer)
        began = time.monotonic()
        await self._close()
        for _ in range(int(min(SPEAK_WITHIN, grace) / _TURN)):
            if self._begun == self.made or hurry.is_set():
                break
            await asyncio.sleep(_TURN)  # one whose handshake fails never comes
        while (self._tracked or busy()) and not hurry.is_set() and (left := began + grace - time.monotonic()) > 0:
            # One that was kept may be about to carry a call that its caller cannot know to be too late.
            silent = time.monotonic() - SPEAK_WITHIN
            if silent >= began:
                for connection, since in [*self._fresh.items(), *self._idle.items()]:
                    if since <= silent:
                        cast("Connection", connection).leave()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(hurry.wait(), min(_LOOK, left))
        return max(len(self._answering()), busy())

    async def end(self) -> None:
        """Listen no more, cut the calls under way, and close the connections."""
        await self._close()
        self.pre_shutdown()
        for connection in self._answering():
            connection.abort()
        await self.shutdown(_SHUTDOWN_TIMEOUT)
        for each in list(self._encrypted):  # of a handshake, or of a peer that does not take leave
            each.abort()
        for _ in range(2):
            await asyncio.sleep(0)  # until what was aborted is closed
        for connection in [each for each in self._tracked if each.carrier is not None]:
            connection.abort()  # TLS waits for the caller's end of it

    async def _close(self) -> None:
        """Listen no more. A connection that was accepted is made two turns later, and is lost where the listener is
        closed by then."""
        if self._listener is None:
            return
        with contextlib.suppress(NotImplementedError):  # Windows
            for sock in self._listener.sockets:
                asyncio.get_running_loop().remove_reader(sock)
        for _ in range(2):
            await asyncio.sleep(0)
        self._listener.close()
        self._listener = None

    def _answering(self) -> list[Connection]:
        return [each for each in self._tracked if each not in self._fresh and not each.waits]

    async def _answered(self, request: web.BaseRequest) -> web.StreamResponse:
        connection = request.protocol
        self._fresh.pop(connection, None)
        self._idle.pop(connection, None)
        try:
            return await self._answer(request)
        finally:
            if connection in self._tracked:
                self._idle[connection] = time.monotonic()


class Connection(BaseConnection):
    """A caller's connection, aborted when a head or the reading of an answer takes too long."""

    __slots__ = ("_head_timer", "_rate", "carrier", "server", "tls", "tunnel")

    def __init__(self, server: Server, refuse: Refuse) -> None:
        super().__init__(server, refuse)
        self.server = server
        self.tunnel: object | None = None  # in which it is
        self.carrier: asyncio.Transport | None = None  # what the tunnel is over
        self.tls: TLSConnection | None = None  # which its own transport is of
        self._head_timer: asyncio.TimerHandle | None = None
        self._rate: MinDataRate | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast("asyncio.Transport", BatchedTransport(transport, self.server.writes)))
        sock = transport.get_extra_info("socket")
        if _NOTSENT_LOWAT is not None and sock is not None and sock.family != _UNIX:
            # Otherwise the system buffers megabytes for a caller that reads nothing, and slow reading shows in leaps of
            # that size.
            sock.setsockopt(socket.IPPROTO_TCP, _NOTSENT_LOWAT, 128 << 10)
        # With this, `pause_writing` means that anything at all is left to be taken.
        transport.set_write_buffer_limits(high=1)  # type: ignore[attr-defined]  # typed as what cannot be written to
        self._head_timer = self.call_later(HEADER_TIMEOUT, self.abort)
        self.server.track(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        self.server.untrack(self)
        self._stop_head_timer()
        if self._rate is not None:
            self._rate.stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        before = self.request_count
        super().data_received(data)
        if self.request_count > before:
            self._stop_head_timer()
            if self.queued > PIPELINED:
                self.abort()
        elif self._head_timer is None and self.waits and data:
            self._head_timer = self.call_later(HEADER_TIMEOUT, self.abort)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._rate = MinDataRate(self._taken, self.abort)

    def resume_writing(self) -> None:
        if self._rate is not None:
            self._rate.stop()
        super().resume_writing()

    def write_eof(self) -> None:
        super().write_eof()
        if self.tls is not None and self.transport is not None:  # whose transport cannot
            cast("BatchedTransport", self.transport).flush()
            self.tls.write_eof()

    def taken(self) -> asyncio.Transport:
        """What it is over, for another protocol; all that was answered is written."""
        batched = cast("BatchedTransport", self.transport)
        batched.flush()
        return cast("asyncio.Transport", batched.under)

    def leave(self) -> None:
        """End the connection once what was answered has been sent."""
        if self.transport is None:
            self.abort()
        elif self.waits:
            self.force_close()  # which sends what is left; `close` would leave the socket open
        else:
            self.close()

    def abort(self) -> None:
        """End the connection at once, and drop what its caller has not taken."""
        self.server.untrack(self)
        transport = self.transport or self.carrier  # which alone is there until the handshake is over
        if transport is not None:
            transport.abort()

    def _taken(self) -> int:
        return 0 if self.transport is None else -unwritten(self.transport)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


def _last(answer: Answer) -> Answer:
    async def answered(request: web.BaseRequest) -> web.StreamResponse:
        last_request(request)
        return await answer(request)

    return answered


def connection_limit(most: int | None = None) -> int:
    """How many connections a process may hold, `most` at most: each caller's call may need an upstream's."""
    most = MAX_CONNECTIONS if most is None else most
    if sys.platform == "win32":
        return most
    import resource

    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return most
    return min(most, max(16, (files - BACKLOG - _OTHER_FILES) // 2))
