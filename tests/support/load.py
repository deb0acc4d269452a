"""Callers of some replicas of a store, who spend uses and make keyed calls while something happens to it."""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from oo.gateway.errors import StoreUnavailable
from oo.gateway.models import Grant, Route, StoredResponse
from oo.gateway.open_store import open_store
from oo.gateway.sealing import Keyring, new_key
from oo.gateway.store.base import Keeper
from tests.support.waiting import PATIENCE

FAILURES = int(os.environ.get("OO_FAILURES", "2"))
"""How often what a campaign does is done."""

RING = Keyring([new_key()])
ANSWER = StoredResponse(201, (), b"answer")
USES = 2_000


class Load:
    """Callers of some replicas, who spend uses and make keyed calls; and what each was told."""

    def __init__(self, stores: Sequence[Keeper]) -> None:
        self.stores = stores
        self.granted: Counter[str] = Counter()
        self.kept: list[tuple[str, str]] = []
        self.last = [0.0] * len(stores)
        self.refused: Counter[str] = Counter()
        self.tokens: list[str] = []
        self.caller = ""
        self._stop = False

    async def prepare(self) -> None:
        first = self.stores[0]
        await first.put_secret("s", "x")
        await first.put_route(Route("r", "http://127.0.0.1:9"))
        self.tokens = [await first.issue("secret", "s", uses=uses) for uses in (3, 40, USES)]
        self.caller = await first.issue("route", "r")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        tasks = [
            asyncio.create_task(work(n, store))
            for n, store in enumerate(self.stores)
            for work in (self._spend, self._spend, self._call)
        ]
        try:
            yield
        finally:
            self._stop = True
            await asyncio.gather(*tasks)
            self._stop = False

    async def _spend(self, who: int, store: Keeper) -> None:
        turn = 0
        while not self._stop:
            turn += 1
            token = self.tokens[turn % len(self.tokens)]
            try:
                found = await store.consume(token, "secret")
            except StoreUnavailable:
                self.refused["unavailable"] += 1
                await asyncio.sleep(0.005)
                continue
            if isinstance(found, Grant):
                self.granted[token] += 1
                self.last[who] = time.monotonic()
            else:
                assert found.why == "used up"
            await asyncio.sleep(0.001)

    async def _call(self, who: int, store: Keeper) -> None:
        turn, identity = 0, store.id_of(self.caller)
        while not self._stop:
            turn += 1
            key = f"{who}.{turn}.{time.monotonic()}"
            try:
                fence = await store.claim(self.caller, key, 60)
                assert isinstance(fence, bytes)
                self.last[who] = time.monotonic()
                await store.complete(identity, key, fence, b"digest", ANSWER)
                self.kept.append((identity, key))
            except StoreUnavailable:
                await asyncio.sleep(0.005)
            await asyncio.sleep(0.002)

    async def check(self, place: str, ring: Keyring = RING) -> None:
        """No use over a limit, and no acknowledged answer lost."""
        async with open_store(place, lambda: ring) as store:
            counted = {each.id: (each.used, each.uses) for each in await store.tokens()}
            for token in self.tokens:
                used, uses = counted[store.id_of(token)]
                assert uses is not None
                assert self.granted[token] <= used <= uses
            for identity, key in self.kept[-300:]:
                assert await store.result(identity, key, b"digest") == ANSWER

    async def back(self) -> float:
        """How long it takes until every replica grants something again."""
        began = time.monotonic()
        while min(self.last) < began:
            assert time.monotonic() - began < PATIENCE, self.refused
            await asyncio.sleep(0.005)
        return max(self.last) - began


@asynccontextmanager
async def replicas(place: str, count: int = 2) -> AsyncIterator[Load]:
    async with AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(open_store(place, lambda: RING)) for _ in range(count)]
        load = Load(stores)
        await load.prepare()
        yield load
