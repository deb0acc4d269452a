"""Asks a store as fast as it answers: `python -m benchmarks.store_load PLACE TOKEN uses|claims SECONDS [alone]`. Prints
how often a second it answered, the 99th percentile of how long each took in milliseconds, and the microseconds of this
process's own time that each took. `alone` has SQLite commit each change by itself, as it waits for its lock by itself.
"""

from __future__ import annotations

import asyncio
import secrets
import sys
import time

from oo.gateway.models import StoredResponse
from oo.gateway.open_store import open_store
from oo.gateway.store import log_sync, outcomes, turns, writer
from oo.gateway.store.base import Keeper

TASKS = 16
ANSWER = StoredResponse(200, (("Content-Type", "application/json"),), bytes(500))


async def use(store: Keeper, token: str) -> None:
    await store.consume(token, "route")


async def claim(store: Keeper, token: str) -> None:
    key = secrets.token_hex(8)
    fence = await store.claim(token, key, 60)
    assert isinstance(fence, bytes)
    await store.complete(store.id_of(token), key, fence, b"digest", ANSWER)


def tell_here(log: log_sync.LogSync, made: list[outcomes.Outcome], _: object = None) -> None:
    log._line.add(made)
    log._line.begin()
    log._sync()


def commit_alone() -> None:
    writer._MOST = 1
    writer.Writer._begin_here = lambda _: False  # type: ignore[method-assign]  # each on the thread
    log_sync.LogSync.tell = tell_here  # type: ignore[method-assign]  # where each waits for the disk
    turns.Turn._lock = lambda *_, **_settings: True  # type: ignore[method-assign]  # SQLite's own lock is left


async def main(place: str, token: str, what: str, seconds: float) -> None:
    ask, took = {"uses": use, "claims": claim}[what], list[float]()

    async def lane(store: Keeper, until: float) -> None:
        while (began := time.perf_counter()) < until:
            await ask(store, token)
            took.append(time.perf_counter() - began)

    async with open_store(place) as store:
        await ask(store, token)
        own, until = time.process_time(), time.perf_counter() + seconds
        await asyncio.gather(*(lane(store, until) for _ in range(TASKS)))
        own = time.process_time() - own
    took.sort()
    print(len(took) / seconds, took[len(took) * 99 // 100] * 1e3, own / len(took) * 1e6)


if __name__ == "__main__":
    if sys.argv[5:] == ["alone"]:
        commit_alone()
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4])))
