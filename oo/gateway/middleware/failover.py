"""Asks the next upstream of a route where one fails."""

from __future__ import annotations

from collections.abc import Callable

from ..._core.pipeline import CallNext
from ..._http.request import Request
from ..._http.response import Response
from ...exceptions import DoubleOError
from ..context import gateway_context, of_route
from ..models import Route, Upstream
from ..upstream_choice import UpstreamChoice
from .resilience import is_repeatable

_FAILURES = frozenset({"connection", "protocol", "timeout", "tls"})


class Failover:
    """Sends a call to one of its route's upstreams, as their weights and their failures have it, and notes to which.

    The next one is asked where no connection could be made; for a call that may be repeated, also where the connection
    was lost before an answer, or the answer is a 5xx.
    """

    def __init__(self, rested: Callable[[str, str], None] | None = None) -> None:
        """`rested` is told of a route and the URL of its upstream that rests from here on."""
        self._rested = rested
        self._choices: dict[str, tuple[tuple[Upstream, ...], UpstreamChoice]] = {}

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        context = gateway_context(request)
        if context.route is None:
            return await call_next(request)
        if not context.route.others:
            context.upstream = context.route.upstream
            return await call_next(request)
        upstreams, choice, now = context.route.upstreams, self._choice(context.route), call_next.io.now
        order = choice.order(now())
        while True:
            number = order.pop(0)
            context.upstream = upstreams[number].url
            try:
                response = await call_next(request.replace(base_url=context.upstream.rstrip("/")))
            except DoubleOError as error:
                if error.reason not in _FAILURES:
                    raise
                self._failed(choice, number, request, now())
                lost = error.reason == "connection" and is_repeatable(request)
                if not order or not (error.unsent or lost):
                    raise
                continue
            if response.status < 500:
                choice.succeeded(number)
                return response
            self._failed(choice, number, request, now())
            if not order or not is_repeatable(request):
                return response
            response.abort()

    def _failed(self, choice: UpstreamChoice, number: int, request: Request, now: float) -> None:
        if choice.failed(number, now) and self._rested is not None:
            context = gateway_context(request)
            self._rested(of_route(request).name, context.upstream or "")

    def _choice(self, route: Route) -> UpstreamChoice:
        kept = self._choices.get(route.name)
        if kept is None or kept[0] != route.upstreams:
            choice = UpstreamChoice([upstream.weight for upstream in route.upstreams])
            kept = self._choices[route.name] = (route.upstreams, choice)
        return kept[1]
