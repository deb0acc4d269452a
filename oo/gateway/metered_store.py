"""A store whose answers are timed for Prometheus."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from .store.base import Store, WatchedStore

if TYPE_CHECKING:
    from .metrics import Metrics

Method: TypeAlias = Callable[..., Awaitable[Any]]

_ALL = [name for name in vars(Store) if not name.startswith("_")]
_READS = ("authorize", "cors", "environment", "opens", "route", "secret")


def metered(store: Store, metrics: Metrics) -> Store:
    """The store, with what takes its time or fails counted by operation and engine.

    Where most of what is read lies in memory already, which takes less time than to time it, each look behind that
    counts as a `read`.
    """
    return cast("Store", _Metered(store, metrics))


class _Metered:
    def __init__(self, store: Store, metrics: Metrics) -> None:
        engine = getattr(store, "engine", "other")
        untimed: tuple[str, ...] = ()
        if isinstance(store, WatchedStore):
            store.watch(partial(_looked, metrics, metrics.timed("oo_store_seconds", "read", engine), engine))
            untimed = _READS
        # Each is bound here, so that a call looks nothing up.
        for name in _ALL:
            method = getattr(store, name)
            setattr(self, name, method if name in untimed else _timed(method, name, engine, metrics))


def _looked(metrics: Metrics, at: int, engine: str, seconds: float | None) -> None:
    if seconds is None:
        metrics.count(1, "oo_store_errors", "read", engine)
    else:
        metrics.observe(at, seconds)


def _timed(method: Method, name: str, engine: str, metrics: Metrics) -> Method:
    at = metrics.timed("oo_store_seconds", name, engine)

    async def timed(*args: Any, **named: Any) -> Any:
        began = monotonic()
        try:
            found = await method(*args, **named)
        except Exception:
            metrics.count(1, "oo_store_errors", name, engine)
            raise
        metrics.observe(at, monotonic() - began)
        return found

    return timed
