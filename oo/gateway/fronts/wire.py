"""Sends a response to the caller as it comes."""

from __future__ import annotations

from contextlib import aclosing

from aiohttp import ClientConnectionError
from multidict import CIMultiDict

from ..._http.body import remaining_of
from ..._http.response import Response
from ...exceptions import DoubleOError
from ..answers import SERVER
from ..context import GatewayContext
from ..headers import OWN_ID
from ..http_server import web
from .one_piece import LARGEST, OnePiece


async def relay(request: web.BaseRequest, response: Response) -> web.StreamResponse:
    """Send the response, in pieces as they come. A one-piece body is left for aiohttp to send.

    ConnectionResetError if nobody would get the rest.
    """
    if response.stream is None:
        return whole_answer(response)
    outgoing = _Outgoing(request, response)
    try:
        async with aclosing(response.stream) as pieces:
            async for piece in pieces:
                await outgoing.send(piece, last=remaining_of(pieces) == 0)
    except DoubleOError:
        if outgoing.answer is None:
            raise
        # Half a response must not look like a whole one, so the caller's connection is aborted as well.
        if request.transport is not None:
            request.transport.abort()
        return outgoing.answer
    finally:
        response.abort()
    return outgoing.answer or whole_answer(response)  # there was no body


def whole_answer(response: Response, body: bytes | None = None) -> web.StreamResponse:
    """A response for aiohttp to send, with its body or the one given."""
    body = response.body if body is None else body
    _count(response, body)
    headers = answer_headers(response)
    if len(body) <= LARGEST:
        return OnePiece(response.status, headers, body)
    return web.Response(status=response.status, headers=headers, body=body)


def answer_headers(response: Response) -> CIMultiDict[str]:
    """The headers that are sent to a caller."""
    headers = CIMultiDict(response.headers.pairs())
    identity = response.context.id
    headers[OWN_ID] = identity
    for name, value in (SERVER, ("X-Request-Id", identity)):
        headers.setdefault(name, value)
    return headers


def _count(response: Response, piece: bytes) -> None:
    if isinstance(response.context, GatewayContext):
        response.context.bytes_out += len(piece)


class _Outgoing:
    """Writes a response in pieces."""

    def __init__(self, request: web.BaseRequest, response: Response) -> None:
        self.answer: web.StreamResponse | None = None
        self._request = request
        self._response = response

    async def send(self, piece: bytes, last: bool) -> None:
        """Write a piece. One that is both the first and the last becomes the whole body, for aiohttp to send."""
        response = self._response
        if self.answer is None and last:
            self.answer = whole_answer(response, piece)
            return
        try:
            if self.answer is None:
                self.answer = web.StreamResponse(status=response.status, headers=answer_headers(response))
                await self.answer.prepare(self._request)
            if piece:
                _count(response, piece)
                await self.answer.write(piece)
                # Read the next piece only when the caller has taken this one.
                await self._request.writer.drain()
        except ClientConnectionError:
            raise ConnectionResetError from None
