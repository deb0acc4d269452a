"""The vault: the store in one SQLite file, every value sealed, the answers to idempotent calls in another beside it.

What was read and opened is kept until an owner's change is committed, which draws the vault's epoch anew, so a change
by another process shows at once. What is counted is never kept: it is read once for all who ask at the same time. A
write is on the disk (its log is synced) before it is acknowledged.

Everything security-relevant is in the authenticated blob, so edited or swapped rows are detected: which version is
current, what a token opens, where a route leads. Two things are not detected. Whoever can write the file can restore
an older state of it, and so undo a revocation or a count of uses. And if the log that a crash left is damaged, SQLite
goes by what was committed before the damage.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

from .._core.pipeline import run_sync
from . import keyring
from .errors import StoreError, UnknownKey
from .freshness import ReadCache, SharedReads
from .keeper import RecordKeeper, Work
from .models import Denial, Grant, Kind, Token
from .paths import VAULT_FILE
from .sealing import MasterKeys
from .spending import Counted, charge, has_use
from .store import database, sqlite_uses
from .store.base import Look
from .store.data_keys import DataKey
from .store.keyed_calls import KeyedCalls
from .store.results import RESULTS_FILE, Results
from .store.rows import Place
from .store.sqlite_rows import SQLiteRecords

T = TypeVar("T")
_TOGETHER = 64  # records that are sealed anew in one transaction


class Vault(RecordKeeper):
    """An open vault, a Keeper. `async with Vault(home)`; StoreError if there is none or the master key is another's."""

    engine = "sqlite"

    def __init__(self, home: Path, load: Callable[[], MasterKeys] | None = None) -> None:
        super().__init__(load or (lambda: keyring.load(home)))
        self.path = home / VAULT_FILE
        if not self.path.exists():
            raise StoreError(f"there is no vault at {self.path}: run `oo init`")
        self._database = database.Database(self.path, self._keys)
        self._reads = ReadCache(self._database.version)
        self._shared = SharedReads()
        self._results = Results(home / RESULTS_FILE, lambda: self._keys.results)
        self._calls: KeyedCalls = KeyedCalls(self._database, self._results)

    @staticmethod
    def create(home: Path, masters: MasterKeys) -> None:
        """Make a new vault; StoreError if there is one."""
        database.create(home / VAULT_FILE, masters)

    def watch(self, told: Look) -> None:
        """Have `told` called for each look into the file."""
        self._database.told = told

    async def check(self) -> None:
        self._database.check()

    async def authorize(self, token: str, kind: Kind, *, key: str | None = None) -> Grant | Denial:
        found = await self._judged(token, kind, key)
        if isinstance(found, Denial):
            return found  # which writes nothing
        if found.rate is None:
            return found.grant
        return await self._database.ask(sqlite_uses.charge_all, self._judged_now(found, kind)) or found.grant

    async def consume(self, token: str, kind: Kind) -> Grant | Denial:
        found = await self._opened(token, kind)
        if isinstance(found, Denial):
            return found
        if found.uses is None:
            return found.grant
        return await self._database.ask(sqlite_uses.consume_all, self._judged_now(found, kind)) or found.grant

    async def terms(self, token: str) -> tuple[Token, float] | Denial:
        found = await self._find_token(token)
        if isinstance(found, Denial):
            return found
        counted = self._counted(found)
        return Denial("unknown") if counted is None else (replace(found, used=counted.used), counted.tat)

    async def claim(self, token: str, key: str, seconds: float) -> bytes | Denial | Literal["taken"]:
        found = await self._opened(token, "route")
        if isinstance(found, Denial):
            return found
        return await self._calls.claim(self._judged_now(found, "route"), self._call(key), seconds)

    async def close(self) -> None:
        """Close the files, after the changes that were begun."""
        self._results.close()
        self._database.close()

    async def _judged(self, token: str, kind: Kind, key: str | None) -> Token | Denial:
        """The terms of a token that opens a thing of that kind, has a use left and comes within its rate."""
        found = await self._opened(token, kind)
        if isinstance(found, Denial):
            return found
        if found.uses is None and found.rate is None:
            return found
        counted = self._shared.get(found.hash, lambda: self._counted(found))
        if counted is None:  # it was revoked just now
            return Denial("unknown")
        is_used_up = not has_use(found, counted.used)
        if is_used_up and (key is None or not self._calls.is_known(found.id, self._call(key))):
            return found.denied("used up")
        outcome = charge(found, counted.tat, time.time())
        return outcome if isinstance(outcome, Denial) else found

    def _counted(self, token: Token) -> Counted | None:
        return self._database.look(lambda records: sqlite_uses.counted(records.db, token))

    def _judged_now(self, token: Token, kind: Kind) -> sqlite_uses.Judged:
        return sqlite_uses.Judged(token, kind, self._database.epoch)

    @property
    def _root(self) -> bytes:
        return self._database.root

    def _now(self) -> float:
        return time.time()

    async def _look(self, work: Work[T]) -> T:
        async def look() -> T:
            self._database.version()
            return self._database.read(lambda records: run_sync(work(records)))

        return await self._with_keys(look)

    async def _kept(self, key: tuple[str, str] | bytes, work: Work[T]) -> T:
        try:
            return self._reads.get(key, lambda: self._database.read(lambda records: run_sync(work(records))))
        except UnknownKey:
            return await self._look(work)  # which learns

    async def _change(self, work: Work[T]) -> T:
        self._database.version()

        def changed(records: SQLiteRecords) -> T:
            records.rows.draw_epoch()
            return run_sync(work(records))

        try:
            return await self._database.write(changed)
        finally:
            self._reads.expire()

    async def _learn(self) -> list[DataKey]:
        return await self._database.learn()

    async def _reseal(self, places: Sequence[Place]) -> int:
        count = 0
        for start in range(0, len(places), _TOGETHER):
            # With a pause as long as that takes, in which other processes write.
            began = time.monotonic()
            some = places[start : start + _TOGETHER]
            count += sum(await asyncio.gather(*(self._database.write(partial(_resealed, place)) for place in some)))
            await asyncio.sleep(time.monotonic() - began)
        return count

    async def _cleaned(self) -> None:
        if not await self._database.compact():
            raise StoreError("others are busy with the vault, and its file still holds what the old key opens")


def _resealed(place: Place, records: SQLiteRecords) -> bool:
    return run_sync(records.reseal(place))
