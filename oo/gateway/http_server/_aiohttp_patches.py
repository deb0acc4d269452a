"""Everything here leans on parts of aiohttp's server that its documentation does not promise.

| name                                       | for what                                                             |
|--------------------------------------------|----------------------------------------------------------------------|
| Server._loop, Server._kwargs               | make connections of a subclass, with the settings Server was given   |
| RequestHandler as a base, its __slots__    | the connection is aiohttp's, with limits of its own                  |
| RequestHandler._loop                       | the loop that times a connection                                     |
| RequestHandler._request_count              | tell whether the bytes that came completed a request's head          |
| RequestHandler._messages, _ErrInfo         | count pipelined requests; find a parse error queued behind a request |
| RequestHandler._waiter                     | tell whether the connection waits for a request                      |
| RequestHandler._task_handler               | cancel a call when its caller leaves, unless it is held              |
| RequestHandler._current_request            | fail the body that is being read                                     |
| _ErrInfo as a message, HttpProcessingError | refuse a head that is too large, in its turn                         |
| RequestHandler._reading_paused             | do not resume what was not paused                                    |
| RequestHandler._upgraded                   | tell what is no HTTP any more; `_upgrade` before aiohttp 3.14        |
| RequestHandler._max_msg_queue_size         | tell whether the parser keeps requests back, from 3.14.3 on          |
| LineTooLong, BadHttpMethod                 | tell that a header was too large, or a method is unknown             |
| RequestHandler.handle_error, log_exception | answer and log a failure without quoting what was received           |
| RequestHandler.finish_response             | end the connection after an answer that goes before the whole body   |
| RequestHandler.close                       | end the connection once the current request is answered              |
| BaseRequest._message, its should_close     | have an answer say that it is its connection's last                  |
| StreamReader, made with a limit and a loop | a body that never ends                                               |
| StreamReader.set_exception, feed_eof       | fail or end a body from outside                                      |
| StreamReader.total_bytes                   | the size of a body that has come whole, before it is read            |
| RequestHandler._message_tail               | tell of bytes that came behind a CONNECT, before its answer          |
| RequestHandler.set_parser                  | have what comes after a CONNECT go to a tunnel                       |
| RequestHandler.transport, _force_close,    | let go of a connection whose transport another protocol takes over   |
| _keepalive_handle, _parser;                |                                                                      |
| Server.connection_lost                     |                                                                      |
| StreamWriter.output_size                   | tell whether an answer has begun; reset after 100 Continue           |

tests/unit/gateway/http_server/test_aiohttp_patches.py asserts that each of them is there.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine
from itertools import islice
from typing import Any, TypeAlias

from aiohttp import StreamReader
from aiohttp.http import HttpProcessingError
from aiohttp.http_exceptions import BadHttpMethod, LineTooLong
from aiohttp.web_protocol import _ErrInfo

from . import web
from .head_size import HEAD_TOO_LARGE, MAX_URL, UNKNOWN_METHOD, HeadSize

logger = logging.getLogger("oo.gateway")

Refuse: TypeAlias = Callable[[web.BaseRequest, int], web.StreamResponse]
"""Answers what was no request with a status: 400, 414, 431 or 501. The connection ends after it."""

PARSED_AT_ONCE = 1 << 10  # requests, where aiohttp sets no limit: more than a connection may have
_UPGRADED = "_upgraded" if hasattr(web.RequestHandler, "_upgraded") else "_upgrade"
_SLICE = 64 << 10  # bytes that are parsed at once: what follows a chunked body in them is not counted


class BaseServer(web.Server):
    """A web.Server that can make connections of a subclass."""

    def handler_settings(self) -> dict[str, Any]:
        """The arguments of a RequestHandler, but for the server itself."""
        return {"loop": self._loop, **self._kwargs}


class BaseConnection(web.RequestHandler):
    """A RequestHandler that quotes nothing of its input, fails the body that has broken, and shows its state."""

    __slots__ = ("_body", "_head", "_length_known", "_refuse", "_refused", "is_held")

    def __init__(self, server: BaseServer, refuse: Refuse) -> None:
        super().__init__(server, **server.handler_settings())
        self._refuse = refuse
        self._refused = False
        self._head = HeadSize()
        self._body: StreamReader | None = None  # of the last request
        self._length_known = False
        self.is_held = False
        """Whether the call under way goes on when its caller leaves."""

    @property
    def has_left(self) -> bool:
        """Whether the caller has left."""
        return self.transport is None

    @property
    def request_count(self) -> int:
        """Requests whose heads have come whole."""
        return self._request_count

    @property
    def queued(self) -> int:
        """Requests that have come and are not being answered yet."""
        return len(self._messages)

    @property
    def waits(self) -> bool:
        """Whether it waits for a request."""
        return self._waiter is not None

    def call_later(self, seconds: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        """Call back on the connection's loop."""
        return self._loop.call_later(seconds, callback)

    def connection_lost(self, exc: BaseException | None) -> None:
        answering = self._task_handler
        super().connection_lost(exc)
        self._body = None  # which holds the connection
        if answering is not None and not self.is_held:
            answering.cancel()  # an upstream call that nobody waits for is not completed

    async def shutdown(self, timeout: float | None = 15.0) -> None:
        if not self.is_held:  # that is another's to end
            await super().shutdown(timeout)

    def data_received(self, data: bytes) -> None:
        if len(data) <= _SLICE:
            self._parse(data)
            return
        for at in range(0, len(data), _SLICE):
            self._parse(data[at : at + _SLICE])

    def resume_reading(self, *args: Any, **keywords: Any) -> None:
        # aiohttp has the parser and the transport go on after each body, paused or not.
        if self._reading_paused:
            super().resume_reading(*args, **keywords)

    def handle_error(
        self, request: web.BaseRequest, status: int = 400, exc: BaseException | None = None, *_what: object
    ) -> web.StreamResponse:
        if isinstance(exc, LineTooLong):
            status = HEAD_TOO_LARGE
        elif isinstance(exc, BadHttpMethod) and self._head.names_method:
            status = UNKNOWN_METHOD
        response = self._refuse(request, status)
        response.force_close()
        return response

    def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> Coroutine[Any, Any, tuple[web.StreamResponse, bool]]:
        """Send the answer. One that goes before the whole body has come is the connection's last (RFC 9112, 9.6)."""
        if request.content.is_eof():
            return super().finish_response(request, resp, start_time)
        return self._finish_early(request, resp, start_time)

    async def _finish_early(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        resp.force_close()
        # The rest is still received, lest a reset overtake the answer. It isn't parsed: a body of one-byte chunks would
        # hold up all other callers.
        self.close()
        sent = await super().finish_response(request, resp, start_time)
        with contextlib.suppress(OSError):  # the caller has disconnected
            self.write_eof()
        return sent

    def write_eof(self) -> None:
        """Say that the answer was the last; what the caller sends is received all the same."""
        if self.transport is not None and self.transport.can_write_eof():
            self.transport.write_eof()

    def log_exception(self, *_what: object, exc_info: object = None) -> None:
        logger.error("a connection failed: %s", type(exc_info).__name__)

    def _parse(self, data: bytes) -> None:
        if self._refused:
            return
        if getattr(self, _UPGRADED):  # no more HTTP
            super().data_received(data)
            return
        body, size = self._body, len(data)
        had = -1 if body is None or body.is_eof() else body.total_bytes
        counts = had < 0 and not self._is_full()
        before = self._request_count
        if counts and len(data) <= MAX_URL and self._head.is_empty:  # too little to be refused
            super().data_received(data)
            if self._request_count == before + 1 and self._has_come_whole(data):
                return
            size, _ = self._head.add(data)
        else:
            if counts:
                size, status = self._head.add(data)
                if status is not None:
                    self._refuse_head(status)
                    return
            super().data_received(data)
        new = self._request_count - before
        rest = data[size:]
        if body is not None and had >= 0 and body.is_eof() and self._length_known:
            rest = data[body.total_bytes - had :]
            if new:  # the head of the first is in it
                size, _ = self._head.add(rest)
                rest = rest[size:]
        elif not new:
            return
        self._count_rest(rest, new)

    def _has_come_whole(self, data: bytes) -> bool:
        """Whether `data` is the request that came last, and nothing else: as most are."""
        if not self._messages:
            return False
        message, body = self._messages[-1]
        if isinstance(message, _ErrInfo) or message.chunked or not body.is_eof():
            return False
        if data.find(b"\r\n\r\n") + 4 + body.total_bytes != len(data):
            return False
        self._body, self._length_known = body, True
        return True

    def _count_rest(self, rest: bytes, new: int) -> None:
        """Count what the parser has already, behind the last body or the heads of `new` requests."""
        status = None
        for message, body in islice(self._messages, max(0, len(self._messages) - new), None):
            if isinstance(message, _ErrInfo):
                self._fail_bodies()
                return
            self._body, self._length_known = body, not message.chunked
            self._head.end()
            rest = rest[body.total_bytes :] if self._length_known else b""
            if not self._is_full():
                size, status = self._head.add(rest)
                rest = rest[size:]
        if not new:
            _, status = self._head.add(rest)
        if status is not None:
            self._refuse_head(status)

    def _is_full(self) -> bool:
        # The parser keeps what comes behind so many requests, and nobody can say where in it a head begins.
        return len(self._messages) >= getattr(self, "_max_msg_queue_size", PARSED_AT_ONCE)

    def _refuse_head(self, status: int) -> None:
        # As aiohttp has it with what cannot be parsed: it is answered in its turn, and nothing is read after it.
        self._refused = True
        self._fail_bodies()
        # A body that never ends: what is still sent is received, lest a reset overtake the answer.
        rest = StreamReader(self, _SLICE, loop=self._loop)
        self._messages.append((_ErrInfo(status=status, exc=HttpProcessingError(), message=""), rest))
        self._request_count += 1
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _fail_bodies(self) -> None:
        # aiohttp queues the parse error behind the current request, whose body read would hang: fail those bodies now.
        current = [] if self._current_request is None else [self._current_request.content]
        for body in [*current, *(body for _, body in self._messages)]:
            if not body.is_eof():
                body.set_exception(web.RequestPayloadError())
                body.feed_eof()  # so that nothing is read of it after the answer


def connection_of(request: web.BaseRequest) -> BaseConnection:
    """By which connection a request has come."""
    return request.protocol  # type: ignore[return-value]  # Server makes no other


def refused_target(request: web.BaseRequest) -> str:
    """What has come of the target of a request that is refused before it is parsed; "" where nobody knows."""
    return connection_of(request)._head.target


async def send_continue(request: web.BaseRequest) -> None:
    """Send 100 Continue (RFC 9110, 15.2.1), which does not count as the beginning of the answer."""
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    request.writer.output_size = 0


def has_begun(request: web.BaseRequest) -> bool:
    """Whether some of the answer has been sent."""
    return request.writer.output_size > 0


def received_size(request: web.BaseRequest) -> int | None:
    """The size of a body that has come whole and unbroken, in bytes; None for any other."""
    content = request.content
    return content.total_bytes if content.is_eof() and content.exception() is None else None


def stop_reading(request: web.BaseRequest) -> None:
    """End the request's body here, and the connection once the request is answered. What comes until then is left
    unread."""
    request.protocol.close()
    request.content.feed_eof()


def last_request(request: web.BaseRequest) -> None:
    """Have the answer say that it is its connection's last (RFC 9112, 9.6)."""
    request._message = request._message._replace(should_close=True)


def came_early(request: web.BaseRequest) -> bool:
    """Whether bytes came behind a request that asks for another protocol, before its answer."""
    return bool(request.protocol._message_tail)


def forget_early(request: web.BaseRequest) -> None:
    """Drop such bytes, which aiohttp would take for the next request."""
    request.protocol._message_tail = b""


def hand_to(request: web.BaseRequest, receiver: Any) -> None:
    """Have whatever comes on the connection from here on go to a receiver's `feed_data`, which gives (False, b"")."""
    request.protocol.set_parser(receiver)


def released(connection: BaseConnection) -> None:
    """Have a connection let go of its transport, which is another protocol's from here on. What it answers last is not
    sent."""
    if connection._keepalive_handle is not None:
        connection._keepalive_handle.cancel()
        connection._keepalive_handle = None
    if connection._manager is not None:
        connection._manager.connection_lost(connection, None)
    connection.transport = None
    connection._parser = connection._body = None  # which hold it
    connection._force_close = True
