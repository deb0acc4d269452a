"""A store whose answers are timed for Prometheus."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from itertools import cycle
from typing import Any, TypeAlias, cast

from .metrics import Metrics
from .store.base import Store

Method: TypeAlias = Callable[..., Awaitable[Any]]

_TIMED = ("consume", "claim", "result", "renew", "complete", "release", "check")
_SAMPLE = 16  # of the looks at a token, which each call makes, one in so many is timed


def metered(store: Store, metrics: Metrics) -> Store:
    """The store, with what takes its time or fails counted by the method's name."""
    return cast("Store", _Metered(store, metrics))


class _Metered:
    def __init__(self, store: Store, metrics: Metrics) -> None:
        self._store = store
        for name in _TIMED:
            setattr(self, name, _timed(getattr(store, name), name, metrics))
        self.authorize = _sampled(store.authorize, _timed(store.authorize, "authorize", metrics))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def _sampled(method: Method, timed: Method) -> Method:
    turns = cycle([timed, *[method] * (_SAMPLE - 1)])

    def sampled(*args: Any, **named: Any) -> Awaitable[Any]:
        return next(turns)(*args, **named)

    return sampled


def _timed(method: Method, name: str, metrics: Metrics) -> Method:
    at = metrics.timed("oo_store_seconds", name)

    async def timed(*args: Any, **named: Any) -> Any:
        began = time.monotonic()
        try:
            found = await method(*args, **named)
        except Exception:
            metrics.count(1, "oo_store_errors", name)
            raise
        metrics.observe(at, time.monotonic() - began)
        return found

    return timed
