"""Relaying: an upstream's answer goes on to the caller as it comes, and is kept where a repeat may ask for it."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import aclosing

from aiohttp import ClientConnectionError, web
from multidict import CIMultiDict

from ..._http.response import Response
from ...exceptions import DoubleOError
from ..headers import caller_headers
from ..idempotency import Claim
from ..models import StoredResponse
from ..upstream import pieces_of

MAX_KEPT = 16 << 20
"""Bytes of an idempotent call's answer that are kept for a repeat; a larger one is not kept."""


async def relay(
    request: web.BaseRequest, request_id: str, response: Response, claim: Claim | None = None
) -> tuple[web.StreamResponse, bool]:
    """The answer to the caller, and whether it did not break off; what came whole is left to go in one write. Where it
    is to be kept, it is read on when its caller has left, for as long as the upstream has to answer. DoubleOError where
    it broke before any of it had gone on, ConnectionResetError where nobody would ever get the rest."""
    fields = tuple(caller_headers(response))
    if response.stream is None:
        if claim is not None:
            claim.keep(StoredResponse(response.status, fields, response.body))
        return web.Response(status=response.status, headers=answer_headers(fields), body=response.body), True
    kept = None if claim is None else bytearray()
    outgoing = _Outgoing(request, request_id, response.status, fields)
    try:
        async with aclosing(pieces_of(response.stream)) as pieces:
            async for piece, last in pieces:
                if kept is not None:
                    kept += piece
                    kept = kept if len(kept) <= MAX_KEPT else None
                await outgoing.send(piece, last)
                if outgoing.left and (kept is None or time.monotonic() - outgoing.left > response.request.timeout):
                    raise ConnectionResetError
    except DoubleOError:
        if outgoing.answer is None:
            raise
        # Half an answer must not look like a whole one: the caller's connection breaks off as well.
        if request.transport is not None:
            request.transport.abort()
        return outgoing.answer, False
    finally:
        response.abort()
    if claim is not None and kept is not None:
        claim.keep(StoredResponse(response.status, fields, bytes(kept)))
    if outgoing.answer is None:  # an upstream's answer without a body
        return web.Response(status=response.status, headers=answer_headers(fields)), True
    return outgoing.answer, True


def answer_headers(pairs: Iterable[tuple[str, str]]) -> CIMultiDict[str]:
    """An answer's headers as they go to a caller."""
    # RFC 9110, 10.2.4: aiohttp's own would tell its version and Python's.
    return CIMultiDict([*pairs, ("Server", "double-o")])


class _Outgoing:
    """An answer on its way to a caller: `answer` once it has begun, `left` (since when) once the caller has gone."""

    def __init__(
        self, request: web.BaseRequest, request_id: str, status: int, fields: Iterable[tuple[str, str]]
    ) -> None:
        self.answer: web.StreamResponse | None = None
        self.left: float | None = None
        self._request = request
        self._request_id = request_id
        self._status = status
        self._fields = fields

    async def send(self, piece: bytes, last: bool) -> None:
        """Send a piece, or let it be the whole answer where it is both the first and the last."""
        if self.left:
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
                # The next one is asked for when the caller has taken this one.
                await self._request.writer.drain()
        except (ConnectionError, ClientConnectionError):
            self.left = time.monotonic()
