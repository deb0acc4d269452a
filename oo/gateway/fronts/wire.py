"""Sends an upstream's response to the caller as it comes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import aclosing

from aiohttp import ClientConnectionError, web
from multidict import CIMultiDict

from ..._http.response import Response
from ...exceptions import DoubleOError
from ..headers import caller_headers


async def relay(
    request: web.BaseRequest, request_id: str, response: Response, read_on: Callable[[], bool] = lambda: False
) -> web.StreamResponse:
    """Send the response, in pieces as they come. A one-piece body is left for aiohttp to send.

    While `read_on` says so, reading goes on after the caller has disconnected, for as long as the request's timeout.
    DoubleOError if the body breaks off before any of it was sent; ConnectionResetError if nobody would get the rest.
    """
    fields = tuple(caller_headers(response))
    if response.stream is None:
        return web.Response(status=response.status, headers=answer_headers(fields), body=response.body)
    outgoing = _Outgoing(request, request_id, response.status, fields)
    try:
        async with aclosing(response.stream) as pieces:
            async for piece in pieces:
                await outgoing.send(piece, last=getattr(pieces, "remaining", None) == 0)
                gone = outgoing.disconnected_at
                if gone and (not read_on() or time.monotonic() - gone > response.request.timeout):
                    raise ConnectionResetError
    except DoubleOError:
        if outgoing.answer is None:
            raise
        # Half a response must not look like a whole one, so the caller's connection is aborted as well.
        if request.transport is not None:
            request.transport.abort()
        return outgoing.answer
    finally:
        response.abort()
    if outgoing.answer is None:  # there was no body
        return web.Response(status=response.status, headers=answer_headers(fields))
    return outgoing.answer


def answer_headers(pairs: Iterable[tuple[str, str]]) -> CIMultiDict[str]:
    """The headers that are sent to a caller."""
    # RFC 9110, 10.2.4: aiohttp's own Server header would tell its version and Python's.
    return CIMultiDict([*pairs, ("Server", "double-o")])


class _Outgoing:
    """Writes a response in pieces; `disconnected_at` is set once the caller has gone."""

    def __init__(
        self, request: web.BaseRequest, request_id: str, status: int, fields: Iterable[tuple[str, str]]
    ) -> None:
        self.answer: web.StreamResponse | None = None
        self.disconnected_at: float | None = None
        self._request = request
        self._request_id = request_id
        self._status = status
        self._fields = fields

    async def send(self, piece: bytes, last: bool) -> None:
        """Write a piece. One that is both the first and the last becomes the whole body, for aiohttp to send."""
        if self.disconnected_at:
            return
        if self.answer is None and last:
            self.answer = web.Response(status=self._status, headers=answer_headers(self._fields), body=piece)
            return
        try:
            if self.answer is None:
                self.answer = web.StreamResponse(status=self._status, headers=answer_headers(self._fields))
                self.answer.headers["X-Request-Id"] = self._request_id
                await self.answer.prepare(self._request)
            if piece:
                await self.answer.write(piece)
                # Read the next piece only when the caller has taken this one.
                await self._request.writer.drain()
        except (ConnectionError, ClientConnectionError):
            self.disconnected_at = time.monotonic()
