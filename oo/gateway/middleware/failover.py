"""Asks the next upstream of a route where one fails."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from ..._core.pipeline import CallNext
from ..._http.request import Request
from ..._http.response import Response
from ...exceptions import DoubleOError
from ..context import GatewayContext, gateway_context, of_route
from ..models import Route, Upstream
from ..upstream_choice import REST, UpstreamChoice
from .resilience import is_repeatable

Rests: TypeAlias = Callable[[str, int, str, float], None]
"""Told of a route, the place of an upstream in it, the upstream's URL, and the seconds for which it rests from here on:
0 where it answers again."""

_FAILURES = frozenset({"connection", "protocol", "timeout", "tls"})


class Failover:
    """Sends a call to one of its route's upstreams, as their weights and their failures have it, and notes to which.

    The next one is asked where no connection could be made; for a call that may be repeated, also where the connection
    was lost before an answer, or the answer is a 5xx.
    """

    def __init__(self, rests: Rests | None = None) -> None:
        """`rests` is told when an upstream begins to rest, and when it answers again."""
        self._rests = rests
        self._choices: dict[str, tuple[tuple[Upstream, ...], UpstreamChoice]] = {}

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        context = gateway_context(request)
        if context.route is None:
            return await call_next(request)
        now = call_next.io.now
        if not context.route.others:
            context.upstream = context.route.upstream
            _note_attempt(context, now())
            return await call_next(request)
        upstreams, choice = context.route.upstreams, self._choice(context.route)
        order = choice.order(now())
        while True:
            number = order.pop(0)
            context.upstream = upstreams[number].url
            _note_attempt(context, now())
            try:
                response = await call_next(request.replace(base_url=context.upstream.rstrip("/")))
            except DoubleOError as error:
                if error.reason not in _FAILURES:
                    raise
                self._failed(choice, number, request, now())
                lost = error.reason == "connection" and is_repeatable(request)
                if not order or not (error.unsent or lost):
                    raise
                context.timeline.append((error.reason, now() - context.started))
                continue
            if response.status < 500:
                if choice.succeeded(number):
                    self._tell(request, number, 0.0)
                return response
            self._failed(choice, number, request, now())
            if not order or not is_repeatable(request):
                return response
            context.timeline.append((response.status, now() - context.started))
            response.abort()

    def _failed(self, choice: UpstreamChoice, number: int, request: Request, now: float) -> None:
        if choice.failed(number, now):
            self._tell(request, number, REST)

    def _tell(self, request: Request, number: int, seconds: float) -> None:
        if self._rests is not None:
            self._rests(of_route(request).name, number, gateway_context(request).upstream or "", seconds)

    def _choice(self, route: Route) -> UpstreamChoice:
        kept = self._choices.get(route.name)
        if kept is None or kept[0] != route.upstreams:
            choice = UpstreamChoice([upstream.weight for upstream in route.upstreams])
            kept = self._choices[route.name] = (route.upstreams, choice)
        return kept[1]


def _note_attempt(context: GatewayContext, now: float) -> None:
    timeline = context.timeline
    if not timeline or timeline[-1][0] != "attempt":  # else Retry has noted it
        timeline.append(("attempt", now - context.started))
