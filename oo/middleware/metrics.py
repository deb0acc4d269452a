"""Metrics: counts each call for Prometheus, in the clients and in a gateway alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from .._core.pipeline import CallNext
from .._http.body import Outcome
from .._http.request import Request
from .._http.response import Response

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

_made: WeakKeyDictionary[Any, _Counters] = WeakKeyDictionary()


class Metrics:
    """Counts calls, the seconds until their end, retries and what the cache answered, by operation and outcome: a
    class of statuses, or the reason of a failure. `registry` is prometheus-client's own unless given; several clients
    may share one. Needs `double-o[metrics]`.

    Example:
        oo.Client(middleware=[oo.Metrics(), *oo.default_middleware()])
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        import prometheus_client

        registry = prometheus_client.REGISTRY if registry is None else registry
        if registry not in _made:
            _made[registry] = _Counters(registry)
        self._counters = _made[registry]

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        now = call_next.io.now
        began = now()
        try:
            response = await call_next(request)
        except BaseException as error:  # what is cancelled is counted too
            outcome = getattr(error, "reason", None) or type(error).__name__
            status = getattr(error, "status", None)
            self._counters.ended(request, f"{status // 100}xx" if status else outcome, now() - began)
            raise

        def ended(end: Outcome) -> None:
            outcome = f"{response.status // 100}xx" if end == "complete" else end
            self._counters.ended(request, outcome, now() - began)

        return response.on_end(ended)


class _Counters:
    def __init__(self, registry: CollectorRegistry) -> None:
        from prometheus_client import Counter, Histogram

        self._calls = Counter("oo_client_calls", "Calls that have ended.", ["operation", "outcome"], registry=registry)
        self._seconds = Histogram(
            "oo_client_call_seconds", "Until the end of the answer.", ["operation"], registry=registry
        )
        self._retries = Counter("oo_client_retries", "Attempts after the first.", ["operation"], registry=registry)
        self._cached = Counter(
            "oo_client_cached", "Calls that the cache answered.", ["operation", "how"], registry=registry
        )

    def ended(self, request: Request, outcome: str, seconds: float) -> None:
        """Count a call that has ended."""
        operation, context = request.operation, request.context
        self._calls.labels(operation, outcome).inc()
        self._seconds.labels(operation).observe(seconds)
        if context.attempts > 1:
            self._retries.labels(operation).inc(context.attempts - 1)
        if context.cache != "miss":
            self._cached.labels(operation, context.cache).inc()
