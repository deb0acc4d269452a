"""The vault: the store in one SQLite file, every value sealed, the answers to idempotent calls in another beside it.

What was read and opened is kept until an owner's change is committed, which draws the vault's epoch anew, so a change
by another process shows at once. What is counted is read from the file each time. A write is on the disk (WAL,
synchronous FULL) before it is acknowledged.

Everything security-relevant is in the authenticated blob, so edited or swapped rows are detected: which version is
current, what a token opens, where a route leads. Two things are not detected. Whoever can write the file can restore
an older state of it, and so undo a revocation or a count of uses. And if the log that a crash left is damaged, SQLite
goes by what was committed before the damage.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

from .._core.pipeline import run_sync
from . import keyring
from .errors import StoreError
from .freshness import ReadCache
from .keeper import RecordKeeper, Work
from .models import Denial, Grant, Kind, Token
from .sealing import Keyring, ReloadingKeyring
from .store import database, sqlite_uses
from .store.keyed_calls import KeyedCalls
from .store.results import RESULTS_FILE, Results
from .store.sqlite_rows import SQLiteRecords

T = TypeVar("T")
VAULT_FILE = "vault.db"
_STEP = 256  # records that are looked for at once


class Vault(RecordKeeper):
    """An open vault, a Keeper. `async with Vault(home)`; StoreError if there is none or the master key is another's."""

    is_embedded = True
    """What is read of it lies in this process's memory mostly."""

    def __init__(self, home: Path, load: Callable[[], Keyring] | None = None) -> None:
        super().__init__()
        self.path = home / VAULT_FILE
        self._keys = ReloadingKeyring(load or (lambda: keyring.load(home)))
        if not self.path.exists():
            raise StoreError(f"there is no vault at {self.path}: run `oo init`")
        self._database = database.Database(self.path, self._keys)
        self._reads = ReadCache(self._database.version)
        self._results = Results(home / RESULTS_FILE, lambda: self._database.root)
        self._calls: KeyedCalls = KeyedCalls(self._database, self._results)

    @staticmethod
    def create(home: Path, ring: Keyring) -> None:
        """Make a new vault; StoreError if there is one."""
        database.create(home / VAULT_FILE, ring)

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
        used, tat = self._database.look(lambda records: sqlite_uses.counted(records.db, found))
        return replace(found, used=used), tat

    async def claim(self, token: str, key: str, seconds: float) -> bytes | Denial | Literal["taken"]:
        found = await self._opened(token, "route")
        if isinstance(found, Denial):
            return found
        return await self._calls.claim(self._judged_now(found, "route"), self._call(key), seconds)

    async def rekey(self, ring: Keyring) -> int:
        """Reseal every record with the ring's current key, each in a transaction of its own. Returns their number.

        Meanwhile readers accept both keys. If interrupted, run it again: it continues.
        """
        await self._database.write(lambda records: run_sync(records.begin_rekey(ring)))
        self._keys.ring = ring
        count = 0
        while places := await self._look(lambda records: records.rows.sealed_otherwise(ring.current, _STEP)):
            for place in places:
                count += await self._database.write(partial(_resealed, ring, place))
        if not await self._database.compact():
            raise StoreError("others are busy with the vault, and its file still holds what the old key opens")
        return count

    async def close(self) -> None:
        """Close the files, after the changes that were begun."""
        self._results.close()
        self._database.close()

    async def _judged(self, token: str, kind: Kind, key: str | None) -> Token | Denial:
        """The terms of a token that opens a thing of that kind, has a use left and comes within its rate."""
        found = await self._opened(token, kind)
        if isinstance(found, Denial):
            return found
        is_used_up = found.uses is not None and self._database.look(lambda r: sqlite_uses.is_used_up(r.db, found))
        if is_used_up and (key is None or not self._calls.is_known(found.id, self._call(key))):
            return Denial("used up", found.id, label=found.label)
        if found.rate is None:
            return found
        return self._database.look(lambda records: sqlite_uses.too_soon(records.db, found)) or found

    def _judged_now(self, token: Token, kind: Kind) -> sqlite_uses.Judged:
        return sqlite_uses.Judged(token, kind, self._database.epoch)

    @property
    def _root(self) -> bytes:
        return self._database.root

    def _now(self) -> float:
        return time.time()

    async def _look(self, work: Work[T]) -> T:
        self._database.version()
        return self._database.read(lambda records: run_sync(work(records)))

    async def _kept(self, key: tuple[str, str] | bytes, work: Work[T]) -> T:
        return self._reads.get(key, lambda: self._database.read(lambda records: run_sync(work(records))))

    async def _change(self, work: Work[T]) -> T:
        self._database.version()

        def changed(records: SQLiteRecords) -> T:
            records.rows.draw_epoch()
            return run_sync(work(records))

        try:
            return await self._database.write(changed)
        finally:
            self._reads.expire()


def _resealed(ring: Keyring, place: tuple[str, str, int], records: SQLiteRecords) -> bool:
    return run_sync(records.reseal(ring, place))
