"""Tries a call again as often as its route says: the library's Retry, in the gateway."""

from __future__ import annotations

from ..._core.errors import RETRYABLE, asked_wait
from ..._core.pipeline import CallNext
from ..._http.body import Body, is_sendable
from ..._http.request import Request
from ..._http.response import Response
from ...exceptions import DoubleOError
from ...middleware.retry import Retry
from ..context import gateway_context
from ..models import Route
from ..spool import IN_MEMORY, kept

_IDEMPOTENT = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS"})  # RFC 9110, 9.2.2


class Resilience:
    """Gives a call that may be repeated to Retry, which sees a status that may pass as the error that it is to a
    client. The last answer is the caller's, whatever its status. Each route has a budget of its own."""

    def __init__(self) -> None:
        self._retries: dict[tuple[str, int], Retry] = {}

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        route = gateway_context(request).route
        if route is None or not (route.retries or route.others):
            return await call_next(request)
        request = await _with_small_body_kept(request)
        if not route.retries or not is_repeatable(request):
            return await call_next(request)
        kept: list[Response] = []  # an answer that may yet be the last

        async def attempt(request: Request, call_next: CallNext) -> Response:
            while kept:
                kept.pop().abort()
            response = await call_next(request)
            if response.status not in RETRYABLE:
                return response
            kept.append(response)
            raise _failure(response)

        try:
            return await self._retry(route)(request, CallNext(attempt, call_next, call_next.io))
        except DoubleOError as error:
            if error.reason != "status" or not kept:
                raise
            return kept.pop()
        finally:
            while kept:
                kept.pop().abort()

    def _retry(self, route: Route) -> Retry:
        key = (route.name, route.retries)
        if key not in self._retries:
            self._retries[key] = Retry(route.retries)
        return self._retries[key]


async def _with_small_body_kept(request: Request) -> Request:
    # Whether a small body came together with its head must not decide whether the call is repeated.
    body = request.body
    if not isinstance(body, Body) or body.replayable or body.length is None or body.length > IN_MEMORY:
        return request
    if request.method not in _IDEMPOTENT or gateway_context(request).websocket:
        return request
    return request.replace(body=await kept(body, gateway_context(request).place))


def is_repeatable(request: Request) -> bool:
    """Whether a call may be sent again: it is idempotent or keyed, and its body is still there."""
    if not is_sendable(request.body):
        return False
    return request.method in _IDEMPOTENT or gateway_context(request).key is not None


def _failure(response: Response) -> DoubleOError:
    failure = DoubleOError(status=response.status, reason="status", retryable=True)
    failure.retry_after, failure.retry_exactly = asked_wait(response)
    return failure
