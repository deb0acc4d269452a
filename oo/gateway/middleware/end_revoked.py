"""Ends a call whose token is revoked or expires while it is under way."""

from __future__ import annotations

import asyncio
import sys

from ..._core.pipeline import CallNext
from ..._http.request import Request
from ..._http.response import Response
from ..context import gateway_context
from ..errors import StoreUnavailable, Unauthorized
from ..open_calls import UNAVAILABLE, OpenCall, OpenCalls


class EndRevoked:
    """Has a proxied call watched until its body has ended. Unauthorized or StoreUnavailable where it is ended before
    its answer has come; an answer that has begun is broken off.

    A keyed call is watched once more within Idempotency, where its answer goes on when the caller has left. Until that
    has come, the outer watch ends it, unless it is made in a task of its own.
    """

    def __init__(self, calls: OpenCalls, *, keyed: bool = False) -> None:
        """`keyed`: watch calls with an idempotency key alone, and end their answers."""
        self._calls = calls
        self._keyed = keyed

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        context = gateway_context(request)
        if context.route is None or (self._keyed and context.key is None):
            return await call_next(request)
        is_outers = self._keyed and (context.caller is None or context.caller.is_held)  # the same task, else its own
        call = OpenCall(context, None if is_outers else asyncio.current_task())
        self._calls.add(call)
        try:
            response = await call_next(request)
        except BaseException as error:  # it may be the cancellation by which a call is ended
            self._calls.discard(call)
            has_left = context.caller is not None and context.caller.has_left  # whom no answer reaches
            if has_left or call.denial is None or not isinstance(error, asyncio.CancelledError):
                raise
            if sys.version_info >= (3, 11) and (task := asyncio.current_task()) is not None:
                task.uncancel()  # it was ours
            if call.denial is UNAVAILABLE:
                raise StoreUnavailable("the store does not say whether the token opens anything still") from None
            raise Unauthorized(call.denial.why, call.denial.reason) from None
        if response.stream is None:
            self._calls.discard(call)
            return response
        call.response = response
        response = response.on_end(lambda _: self._calls.discard(call))
        if not self._keyed:  # which is read whatever becomes of the caller
            context.opened += (response,)
        return response
