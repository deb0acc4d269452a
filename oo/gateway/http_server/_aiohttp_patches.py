"""Everything here leans on parts of aiohttp's server that its documentation does not promise.

| name                                       | for what                                                             |
|--------------------------------------------|----------------------------------------------------------------------|
| Server._loop, Server._kwargs               | make connections of a subclass, with the settings Server was given   |
| RequestHandler as a base, its __slots__    | the connection is aiohttp's, with limits of its own                  |
| RequestHandler._loop                       | the loop that times a connection                                     |
| RequestHandler._request_count              | tell whether the bytes that came completed a request's head          |
| RequestHandler._messages, _ErrInfo         | count pipelined requests; find a parse error queued behind a request |
| RequestHandler._waiter                     | tell whether the connection waits for a request                      |
| RequestHandler._current_request            | fail the body that is being read                                     |
| RequestHandler.handle_error, log_exception | answer and log a failure without quoting what was received           |
| RequestHandler.finish_response             | end the connection after an answer that goes before the whole body   |
| RequestHandler.close                       | end the connection once the current request is answered              |
| StreamReader.set_exception, feed_eof       | fail or end a body from outside                                      |
| StreamReader.total_bytes                   | the size of a body that has come whole, before it is read            |
| StreamWriter.output_size                   | tell whether an answer has begun; reset after 100 Continue           |

tests/unit/gateway/http_server/test_aiohttp_patches.py asserts that each of them is there.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any, TypeAlias

from aiohttp import web
from aiohttp.web_protocol import _ErrInfo

logger = logging.getLogger("oo.gateway")

Refuse: TypeAlias = Callable[[web.BaseRequest], web.Response]
"""Answers what was no request. The connection ends after it."""


class BaseServer(web.Server):
    """A web.Server that can make connections of a subclass."""

    def handler_settings(self) -> dict[str, Any]:
        """The arguments of a RequestHandler, but for the server itself."""
        return {"loop": self._loop, **self._kwargs}


class BaseConnection(web.RequestHandler):
    """A RequestHandler that quotes nothing of its input, fails the body that has broken, and shows its state."""

    __slots__ = ("_refuse",)

    def __init__(self, server: BaseServer, refuse: Refuse) -> None:
        super().__init__(server, **server.handler_settings())
        self._refuse = refuse

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

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._messages and isinstance(self._messages[-1][0], _ErrInfo):
            self._fail_bodies()

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
        # The rest is still received, lest a reset overtake the answer. It isn't parsed: a body of one-byte chunks would
        # hold up all other callers.
        self.close()
        sent = await super().finish_response(request, resp, start_time)
        if self.transport is not None and self.transport.can_write_eof():
            with contextlib.suppress(OSError):  # the caller has disconnected
                self.transport.write_eof()
        return sent

    def log_exception(self, *_what: object, exc_info: object = None) -> None:
        logger.error("a connection failed: %s", type(exc_info).__name__)

    def _fail_bodies(self) -> None:
        # aiohttp queues the parse error behind the current request, whose body read would hang: fail those bodies now.
        current = [] if self._current_request is None else [self._current_request.content]
        for body in [*current, *(body for _, body in self._messages)]:
            if not body.is_eof():
                body.set_exception(web.RequestPayloadError())
                body.feed_eof()  # so that nothing is read of it after the answer


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
