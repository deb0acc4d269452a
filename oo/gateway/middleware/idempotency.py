"""Idempotency keys: a POST that is retried happens once (draft-ietf-httpapi-idempotency-key-header).

The first call with a key is made and its result stored. A repeat gets that result, and waits for it if the first call
is still under way. The first call is completed even if its caller disconnects, since that caller is the one who will
retry. What a repeat may better is not stored (`kept.py`), so the next attempt makes the call again.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator

from ..._core.pipeline import CallNext
from ..._http.body import Body
from ..._http.headers import Headers
from ..._http.request import Request
from ..._http.response import Response
from ...exceptions import DoubleOError
from ..background import Background
from ..claims import Claim, Claims, pauses
from ..context import gateway_context, of_route
from ..errors import Conflict, GatewayError
from ..kept import is_kept
from ..models import Denial, StoredResponse
from ..recording import Recording
from ..spool import Spool, kept
from ..store.base import Store
from .authorize import granted

_GRACE = 5.0  # seconds beyond the timeout until a claim expires that nobody renews

_PIECE = 64 << 10  # bytes of a stored answer that are sent at once


class Idempotency:
    """Makes a call with an idempotency key once; any other each time.

    The key is looked up, and a use paid for a new one, before the body is read. A repeat costs no use. Conflict if its
    request isn't the first one's, if the first call doesn't end within the route's timeout and 5 seconds, or if it was
    made and its result is not there any more: it is not made twice without the caller's knowing.
    """

    def __init__(self, store: Store, background: Background) -> None:
        self._store = store
        self._claims = Claims(store)
        self._background = background
        self.is_within_plugins = False
        """Whether plugins stand around it."""

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        context = gateway_context(request)
        key = context.key
        if key is None:
            return await call_next(request)
        seconds = of_route(request).timeout + _GRACE
        give_up_at = time.monotonic() + seconds
        while True:
            claim = await self._claims.take(context.token, context.token_id or "", key, seconds)
            if isinstance(claim, Denial):
                granted(context, claim)
            elif claim is not None:
                context.paid = True
                return await self._first(claim, request, call_next)
            request, digest = await _digested(request)
            response = await self._repeated(request, key, digest, give_up_at)
            if response is not None:
                return response

    async def _repeated(self, request: Request, key: str, digest: bytes, give_up_at: float) -> Response | None:
        """The stored response, once it is there; None if nobody makes the call any more."""
        token_id = gateway_context(request).token_id or ""
        waits = pauses()
        while True:
            found = await self._store.result(token_id, key, digest)
            if found is None and not self._claims.holds(token_id, key):
                return None
            if isinstance(found, StoredResponse):
                return _replayed(found, request)
            if found == "gone":
                raise Conflict(410, "this call was made, and its answer is not kept any more: see what became of it")
            if found == "other" or self._claims.is_other(token_id, key, digest):
                raise Conflict(422, "this Idempotency-Key was used with another request")
            gateway_context(request).joined = 1
            left = give_up_at - time.monotonic()
            if left < 0:
                raise Conflict(409, "the first request with this Idempotency-Key is still under way")
            await self._claims.wait(token_id, key, waits, left)

    async def _first(self, claim: Claim, request: Request, call_next: CallNext) -> Response:
        context = gateway_context(request)
        if self.is_within_plugins:
            return await self._apart(claim, request, call_next)
        caller = context.caller
        try:
            with self._background.held(caller):
                response = await self._make(claim, await self._bound(claim, request), call_next)
        except (GatewayError, DoubleOError):
            if caller is None or not caller.has_left:
                raise
        else:
            if caller is None or not caller.has_left:
                return response
            response.abort()
        raise asyncio.CancelledError  # as it would have been, were it not held: nobody gets what it came to

    async def _apart(self, claim: Claim, request: Request, call_next: CallNext) -> Response:
        """Make the call in a task of its own: a plugin may cancel what it waits for."""
        request = await self._bound(claim, request)
        making = self._background.spawn(self._make(claim, request, call_next), gateway_context(request).place)
        try:
            return await asyncio.shield(making)
        except asyncio.CancelledError:
            making.add_done_callback(_left)
            raise
        finally:
            del making  # its error holds this frame

    async def _bound(self, claim: Claim, request: Request) -> Request:
        """The request, its body kept and the claim noted as its own."""
        try:
            request, digest = await _digested(request)
            if not await claim.bind(digest):
                raise Conflict(409, "another request with this Idempotency-Key is under way")
        except BaseException:  # cancelled too: whoever repeats it may make it
            await claim.release()
            raise
        return request

    async def _make(self, claim: Claim, request: Request, call_next: CallNext) -> Response:
        try:
            response = await call_next(request)
        except BaseException:  # as above
            await claim.release()
            raise
        if not is_kept(response.status):
            await claim.release()
            return response
        if response.stream is None:
            await claim.complete(StoredResponse(response.status, response.headers.pairs(), response.body))
            return response
        place = gateway_context(request).place
        recording = Recording(response, response.stream, claim, of_route(request).timeout, Spool(place))
        self._background.spawn(recording.run(), place)
        return recording.response


def _replayed(found: StoredResponse, request: Request) -> Response:
    headers = Headers(found.headers)
    if isinstance(found.body, Body):
        return Response(found.status, headers, request=request, stream=found.body)
    if len(found.body) <= _PIECE:
        return Response(found.status, headers, found.body, request=request)
    return Response(found.status, headers, request=request, stream=Body(_pieces(found.body), length=len(found.body)))


async def _pieces(body: bytes) -> AsyncIterator[bytes]:
    # Piece by piece, so that a caller who reads slowly can be left.
    for at in range(0, len(body), _PIECE):
        yield body[at : at + _PIECE]


async def _digested(request: Request) -> tuple[Request, bytes]:
    """The request, its body such that it can be read again, and the digest of what it asks for."""
    digest = hashlib.sha256("\0".join((request.method, of_route(request).name, request.url, "")).encode())
    body = request.body
    if isinstance(body, Body):
        request = request.replace(body=await kept(body, gateway_context(request).place, digest.update))
    elif body is not None:
        digest.update(body)
    return request, digest.digest()


def _left(making: asyncio.Task[Response]) -> None:
    """Leave a response that nobody waits for."""
    if not making.cancelled() and making.exception() is None:
        making.result().abort()
