"""Asks a store as fast as it answers: `python -m benchmarks.store_load PLACE TOKEN uses|claims SECONDS [alone|floor]`.
Prints how often a second it answered, the 99th percentile of how long each took in milliseconds, and the microseconds
of this process's own time that each took. `alone` has SQLite commit each change by itself, as it waits for its lock by
itself; `floor` asks what stands beside the store (`store_floors.py`).
"""

from __future__ import annotations

import asyncio
import secrets
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial

from benchmarks import store_floors
from benchmarks.store_floors import ANSWER, AT_ONCE
from oo.gateway.models import StoredResponse
from oo.gateway.open_store import open_store
from oo.gateway.store import log_sync, outcomes, turns, writer
from oo.gateway.store.base import Keeper

KEPT = StoredResponse(200, (("Content-Type", "application/json"),), ANSWER)


async def use(store: Keeper, token: str) -> None:
    await store.consume(token, "route")


async def claim(store: Keeper, token: str) -> None:
    key = secrets.token_hex(8)
    fence = await store.claim(token, key, 60)
    assert isinstance(fence, bytes)
    await store.complete(store.id_of(token), key, fence, b"digest", KEPT)


def tell_here(log: log_sync.LogSync, made: list[outcomes.Outcome], _: object = None) -> None:
    log._line.add(made)
    log._line.begin()
    log._sync()


def commit_alone() -> None:
    writer._MOST = 1
    writer.Writer._begin_here = lambda _: False  # type: ignore[method-assign]  # each on the thread
    log_sync.LogSync.tell = tell_here  # type: ignore[method-assign]  # where each waits for the disk
    turns.Turn._lock = lambda *_, **_settings: True  # type: ignore[method-assign]  # SQLite's own lock is left


async def measure(ask: Callable[[], Awaitable[None]], lanes: int, seconds: float, each: int = 1) -> None:
    """Ask again and again in so many lanes. An answer is that of `each` who asked at once."""
    took = list[float]()

    async def lane(until: float) -> None:
        while (began := time.perf_counter()) < until:
            await ask()
            took.append(time.perf_counter() - began)

    await ask()
    own, until = time.process_time(), time.perf_counter() + seconds
    await asyncio.gather(*(lane(until) for _ in range(lanes)))
    own, count = time.process_time() - own, len(took) * each
    took.sort()
    print(count / seconds, took[len(took) * 99 // 100] * 1e3, own / count * 1e6)


async def main(place: str, token: str, what: str, seconds: float, how: str = "") -> None:
    if how == "floor":
        async with store_floors.opened(place) as floor:
            await measure({"uses": floor.uses, "claims": floor.claims}[what], 1, seconds, AT_ONCE)
        return
    if how == "alone":
        commit_alone()
    async with open_store(place) as store:
        await measure(partial({"uses": use, "claims": claim}[what], store, token), AT_ONCE, seconds)


if __name__ == "__main__":
    place, token, what, seconds, *how = sys.argv[1:]
    asyncio.run(main(place, token, what, float(seconds), *how))
