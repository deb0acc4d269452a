"""The answers to idempotent calls: a Results file beside the vault, which may be deleted at any time.

That a call was made stands in the vault (`claim_rows.py`). Here stands what was answered, so that neither the vault's
file nor its log grows with it. What is lost here is told to a repeat, and no call is made twice for it. A commit
survives the process, not a failure of power, for the same reason.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import TypeVar

from ..._core.files import lock_dir
from ..._core.io import retrieved
from .. import kept
from ..errors import IntegrityError, StoreError
from ..models import StoredResponse
from ..paths import hand_over
from ..sealing import Keyring
from . import result_rows, sqlite
from .answer_pieces import Call, Cut, day_of, joined, keyring_of
from .batches import Batches
from .pages import PAGE
from .result_rows import Found

T = TypeVar("T")
Answer = tuple[Call, Cut]
RESULTS_FILE = "results.db"
_LOG = 4 << 20  # bytes, about, in the log, after which they are carried over into the file
PRAGMAS = (
    f"page_size = {PAGE}",
    "auto_vacuum = INCREMENTAL",
    "journal_mode = WAL",
    "synchronous = NORMAL",
    "secure_delete = OFF",  # it is sealed, and read by nobody when it is a day old
    f"journal_size_limit = {_LOG}",  # with less, the log would be cut and grow again with each that is carried over
    "wal_autocheckpoint = 0",  # which would wait for the disk within a commit
    "busy_timeout = 0",
)
_MOST = 64  # answers that share a transaction
SMALL = 64 << 10
"""Bytes of answers that are kept together with the note that their calls were made."""
_LOCK_TIMEOUT = 10.0  # seconds
_OF_COMMIT = 16 << 10  # bytes, about, that a commit takes there beside its answers
_FREE = 256  # pages without use that are left in the file, for what comes next
_GIVEN_BACK = 1024  # pages that one step gives back to the disk


class Results:
    """Keeps answers, and finds them. It is made when the first is kept. StoreError if it fails.

    One thread writes, another reads. What is small is written wherever the vault's changes are made, in the same turn
    (`keep_here`). `keys` gives the vault's keys of results.
    """

    def __init__(self, path: Path, keys: Callable[[], tuple[bytes, ...]]) -> None:
        self._path = path
        self._folder = str(path.parent)
        self._keys = keys
        self._writing = _File(path, sqlite.writer)
        self._reading = _File(path, lambda path, _: sqlite.reader(path))
        self._keeping: Batches[Answer, bool] = Batches(self._keep, most=_MOST)
        self._logged = 0
        self._has_old = False
        self._closed = False
        self._sweeping = False

    async def keep(self, call: Call, cut: Cut) -> None:
        """Keep an answer, unless it was kept. StoreError where there is no room."""
        if not await self._keeping.ask((call, cut)):
            raise StoreError("there is no room for it")

    def keep_here(self, answers: Sequence[Answer]) -> list[bool]:
        """Keep answers at once; False for each that was not: they are large together, there is no file yet, or others
        write. They are for `keep`."""
        sizes = accumulate(cut.size for _, cut in answers)
        small = [answer for answer, size in zip(answers, sizes, strict=True) if size <= SMALL]
        fits = self._writing.at_once(partial(self._put, small)) or []
        return fits + [False] * (len(answers) - len(fits))

    async def tend(self) -> None:
        """Drop what is too old, and carry the log over into the file, where that is due."""
        if self._has_old:
            self._has_old = False
            self._sweep()
        if self._logged > _LOG:
            self._logged = 0
            await self._writing.run(sqlite.carry_over)

    async def _keep(self, answers: Sequence[Answer]) -> list[bool]:
        fits: list[bool] = []
        for some in _shares(answers):
            fits += await self._writing.run(partial(self._put, some), make=True) or []
            await self.tend()
        return fits

    def _put(self, answers: Sequence[Answer], db: sqlite3.Connection) -> list[bool]:
        try:
            return self._put_new(answers, db)
        except sqlite3.IntegrityError:  # some were kept before, or stand here twice: each in its turn
            are_kept = (result_rows.find(db, call) is not None for call, _ in answers)
            return [is_kept or self._put_new([each], db)[0] for each, is_kept in zip(answers, are_kept, strict=True)]

    def _put_new(self, answers: Sequence[Answer], db: sqlite3.Connection) -> list[bool]:
        now = time.time()
        ring, room = self._ring(now), self._room(db)
        with sqlite.transaction(db):
            fits = result_rows.put_all(db, ring, answers, now, room)
            self._has_old |= result_rows.has_older(db, now - kept.KEPT)
        self._logged += sum(cut.size for _, cut in answers) + _OF_COMMIT
        return fits

    async def find(self, call: Call) -> StoredResponse | None:
        """The answer to a call, or None."""

        def look(db: sqlite3.Connection) -> tuple[Found, bytes] | None:
            found = result_rows.find(db, call)
            first = None if found is None else result_rows.piece(db, self._ring(found.at), call, found, 0)
            return None if found is None or first is None else (found, first)

        try:
            looked = await self._reading.run(look)
        except IntegrityError:
            return None  # it was changed, and so is none
        if looked is None:
            return None
        found, first = looked

        async def piece(number: int) -> bytes | None:
            return await self._reading.run(lambda db: result_rows.piece(db, self._ring(found.at), call, found, number))

        return joined(first, found.pieces, piece)

    def close(self) -> None:
        """Close the file, after what was begun."""
        self._closed = True
        self._writing.close()
        self._reading.close()

    def _sweep(self) -> None:
        """Drop what is too old, step by step: whoever keeps an answer meanwhile waits for one step at most."""
        if not self._sweeping:
            self._sweeping = True
            task = asyncio.ensure_future(self._steps())
            task.add_done_callback(retrieved)

    async def _steps(self) -> None:
        def step(db: sqlite3.Connection) -> bool:
            with sqlite.transaction(db):
                more = result_rows.sweep(db, time.time() - kept.KEPT)
            return _give_back(db) or more

        try:
            while not self._closed and await self._writing.run(step):
                pass
        finally:
            self._sweeping = False

    def _room(self, db: sqlite3.Connection) -> int:
        # What is full stops every other writer too: a use could not be counted, nor a token revoked.
        if shutil.disk_usage(self._folder).free > kept.SPARED:
            return kept.MAX_OF_ALL
        return min(kept.MAX_OF_ALL, result_rows.total(db))

    def _ring(self, at: float) -> Keyring:
        return keyring_of(self._keys(), day_of(at))


class _File:
    """One connection to the file, on a thread of its own. The file is opened anew where it was deleted or replaced, and
    made anew where it is damaged."""

    def __init__(self, path: Path, connect: Callable[[Path, tuple[str, ...]], sqlite3.Connection]) -> None:
        self._path, self._name = path, str(path)
        self._connect = connect
        self._thread = ThreadPoolExecutor(1, "oo-results")
        self._db: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None
        self._free = threading.Lock()  # the connection is used on one thread at a time

    def at_once(self, work: Callable[[sqlite3.Connection], T]) -> T | None:
        """What `work` returns; None where that would have to be waited for, or fails."""
        if not self._free.acquire(blocking=False):
            return None
        try:
            return work(self._db) if self._db is not None and self._there() == self._identity else None
        except (sqlite3.Error, OSError, StoreError):
            return None
        finally:
            self._free.release()

    async def run(self, work: Callable[[sqlite3.Connection], T], *, make: bool = False) -> T | None:
        """What `work` returns; None where there is no file, unless one is to be made."""

        def safe() -> T | None:
            try:
                with self._free, sqlite.failures(self._path, "results file"):
                    try:
                        return done()
                    except sqlite3.DatabaseError as error:
                        if type(error) is not sqlite3.DatabaseError:
                            raise  # locked, or full; the class itself is for what is damaged
                        self._delete()
                        return done()
            except OSError as error:  # no file can be opened, say, or another program keeps the folder locked
                raise StoreError(f"the results file {self._path} failed: {error.strerror or error}") from None

        def done() -> T | None:
            db = self._opened(make)
            if db is None:
                return None
            with sqlite.patient(db, _LOCK_TIMEOUT):
                return work(db)

        return await asyncio.get_running_loop().run_in_executor(self._thread, safe)

    def close(self) -> None:
        self._thread.shutdown()
        self._forget()

    def _opened(self, make: bool) -> sqlite3.Connection | None:
        identity = self._there()
        if self._db is not None and identity == self._identity:
            return self._db
        self._forget()
        if identity is None:
            if not make:
                return None
            self._create()
        db = self._connect(self._path, PRAGMAS)
        try:
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version != result_rows.FORMAT:
                raise sqlite3.DatabaseError("it is of another version")
        except BaseException:
            db.close()
            raise
        self._db, self._identity = db, self._there()
        return db

    def _create(self) -> None:
        with lock_dir(self._path.parent, _LOCK_TIMEOUT):
            if self._there() is None:  # else another process has made it
                self._delete()  # which drops the log of one that was deleted
                with sqlite.creating(self._path, result_rows.SCHEMA, PRAGMAS):
                    pass  # it begins empty
                hand_over(self._path.parent, self._path)

    def _there(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self._name)
        except FileNotFoundError:
            return None
        return found.st_dev, found.st_ino

    def _delete(self) -> None:
        self._forget()
        sqlite.delete(self._path)

    def _forget(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None


def _shares(answers: Sequence[Answer]) -> Iterator[list[Answer]]:
    """The answers, in as many as share a transaction: the bounds are looked at once for each."""
    share, size = list[Answer](), 0
    for answer in answers:
        if share and size + answer[1].size > kept.MAX_KEPT:
            yield share
            share, size = [], 0
        share.append(answer)
        size += answer[1].size
    yield share


def _give_back(db: sqlite3.Connection) -> bool:
    """Give some pages without use back to the disk; whether there are more."""
    (free,) = db.execute("PRAGMA freelist_count").fetchone()
    if free <= _FREE:
        return False
    db.executescript(f"PRAGMA incremental_vacuum({_GIVEN_BACK})")  # `execute` would take the first step alone
    more = bool(free > _FREE + _GIVEN_BACK)
    if not more:
        sqlite.carry_over(db)  # which makes the file itself shorter
    return more
