"""Lets no more calls in than the process can hold, and no more of one token than its share."""

from __future__ import annotations

from ..._core.pipeline import CallNext
from ..._http.request import Request
from ..._http.response import Response
from ..capacity import Capacity
from ..context import gateway_context


class Concurrency:
    """Gives a call a place, which it holds until its work has ended: until the end of its answer, or of what goes on
    after its caller has left.

    Busy (429 or 503, with Retry-After) if there is none. A look at the gateway's health needs none.
    """

    def __init__(self, capacity: Capacity) -> None:
        self._capacity = capacity

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        context = gateway_context(request)
        if context.token_id is None:
            return await call_next(request)
        context.place = place = self._capacity.take(context.token_id, context.concurrency, context.route)
        try:
            response = await call_next(request)
        except BaseException:  # cancelled too: its caller has left
            place.release()
            raise
        response = response.on_end(place.release)
        if response.stream is not None:
            context.opened += (response,)
        return response
