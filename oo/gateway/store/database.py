"""An open vault file: one connection reads on the event loop, another writes on a thread of its own (`writer.py`)."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, TypeVar

from ..._core.files import identity
from ..._core.pipeline import run_sync
from ..errors import StoreError, StoreUnavailable
from ..sealing import Keyring, MasterKeys
from ..throttled_log import ThrottledLog
from . import data_keys, sqlite
from .base import Look
from .data_keys import DataKeys
from .moving import MOVED, unavailable
from .records import begin
from .schema import SCHEMA, upgrade
from .sqlite_rows import SQLiteRecords, SQLiteRows
from .writer import Peek, Work, Writer

T = TypeVar("T")
Q = TypeVar("Q")
_AGAIN = 0.1  # seconds until a file that could not be opened is tried again
_OPENS = 0.05  # seconds for which the event loop waits for a file whose keys a KMS unwraps


class _Connections:
    """Both connections to the file that the path leads to, and what that file's `root` is."""

    def __init__(self, path: Path, keys: DataKeys) -> None:
        with sqlite.failures(path), ExitStack() as opened:
            # Before it is opened: a file that is put in its place meanwhile is noticed at the next look.
            self.identity = identity(path)
            self.records = SQLiteRecords(opened.enter_context(closing(sqlite.reader(path))), path, keys)
            has_keys, self.root = self._root(path, keys)
            # After the root is read, since it carries over into the file what a crash left in the log.
            self.writer = opened.enter_context(closing(sqlite.writer(path)))
            upgrade(self.writer)
            if not has_keys:
                self._give_keys(path, keys)
            # Its log too: whoever copies a backup over the file itself removes that.
            self.log = identity(_log(path))
            opened.pop_all()
        self.changes = Writer(SQLiteRecords(self.writer, path, keys), path, self._close)

    def _close(self) -> None:
        # The last to close carries the log over into the file, which the reader cannot.
        self.records.db.close()
        self.writer.close()

    def _root(self, path: Path, keys: DataKeys) -> tuple[bool, bytes]:
        """Whether the vault has data keys, and its root."""

        async def learn() -> list[data_keys.DataKey]:
            rows = await data_keys.every(self.records.rows)
            keys.learn(rows)
            return rows

        what = f"the vault {path}; nothing was changed"
        rows, root = run_sync(keys.opened_root(learn, lambda: self.records.read("root", "root", 1), what))
        return bool(rows), root

    def _give_keys(self, path: Path, keys: DataKeys) -> None:
        """Give data keys to a vault of an earlier version, unless it has moved elsewhere."""
        first = data_keys.first(keys.masters, self.root)
        rows = SQLiteRows(self.writer, path)
        with sqlite.transaction(self.writer):
            if run_sync(rows.meta(MOVED)) is None:
                run_sync(data_keys.put_first(rows, first))
        keys.learn(run_sync(data_keys.every(rows)))


class Database:
    """The vault's file. StoreError if it fails, or if the master key doesn't open it, in which case it isn't changed.

    `records` reads; a change gets records of its own that write. `root` is the random key that only the vault's master
    key opens. A file that was put in the place of this one is opened instead (`version`).
    """

    def __init__(self, path: Path, keys: DataKeys) -> None:
        self.path = path
        self._name, self._log = str(path), _log(path)
        self.keys = keys
        self._open = _Connections(path, keys)
        self._closed = False
        self._replaced = 0
        self._epoch: str | None = None
        self._again = float("-inf")
        self._opening: Future[_Connections] | None = None
        self._errors = ThrottledLog()
        self.told: Look = _unwatched

    @property
    def records(self) -> SQLiteRecords:
        """The records, to read."""
        return self._open.records

    @property
    def root(self) -> bytes:
        """The vault's own random key."""
        return self._open.root

    @property
    def epoch(self) -> str | None:
        """The epoch that `version` saw last."""
        return self._epoch

    @property
    def writer(self) -> sqlite3.Connection:
        """The connection that writes."""
        return self._open.writer

    def version(self) -> tuple[int, str | None]:
        """What changes when an owner's change is committed, or when the file is replaced. StoreUnavailable if it was
        removed, moved, or replaced by one that can't be opened: what was read before must not be used any more."""
        try:
            if identity(self._name) != self._open.identity or identity(self._log) != self._open.log:
                self._reopen()
            moved, self._epoch = self._look(lambda records: records.rows.said(MOVED))
            if moved is not None:
                raise unavailable(moved)
        except StoreError:
            self.told(None)
            raise
        return self._replaced, self._epoch

    def read(self, read: Callable[[SQLiteRecords], T]) -> T:
        """What `read` returns, all of it as of one moment."""

        def whole(records: SQLiteRecords) -> T:
            with sqlite.snapshot(records.db):
                return read(records)

        return self.look(whole)

    def look(self, read: Callable[[SQLiteRecords], T]) -> T:
        """What `read` returns, which asks one thing."""
        began = time.monotonic()
        try:
            with sqlite.failures(self.path):
                found = self._look(read)
        except StoreError:
            self.told(None)
            raise
        self.told(time.monotonic() - began)
        return found

    def _look(self, read: Callable[[SQLiteRecords], T]) -> T:
        return self._open.changes.look(read, self.records)

    def check(self) -> None:
        """StoreError if a record cannot be opened now."""
        self.version()
        self.read(lambda records: run_sync(records.read("root", "root", 1)))

    def write(self, change: Callable[[SQLiteRecords], T]) -> Coroutine[Any, Any, T]:
        """Make a change, whole or not at all. It is on the disk when this returns."""
        return self.keys.with_new(lambda: self._open.changes.write(change), self.learn)

    def ask(self, work: Work[Q, T], question: Q, peek: Peek[T] | None = None) -> Coroutine[Any, Any, T]:
        """The answer to a question, once what it changes is on the disk. See Writer.ask."""
        return self.keys.with_new(lambda: self._open.changes.ask(work, question, peek), self.learn)

    def on_disk(self) -> Coroutine[Any, Any, None]:
        """Wait until what was read so far is on the disk."""
        return self._open.changes.on_disk()

    async def learn(self) -> list[data_keys.DataKey]:
        """Unwrap the data keys that were added meanwhile. Returns the rows of all."""
        rows = self.read(lambda records: run_sync(data_keys.every(records.rows)))
        await asyncio.to_thread(self.keys.learn, rows)  # which may ask a KMS
        return rows

    async def compact(self) -> bool:
        """Write the file anew, without what was replaced; False if other processes are busy with it."""
        return await self._open.changes.alone(sqlite.compact)

    def close(self) -> None:
        """Close the file, after the changes that were begun."""
        self._closed = True
        if self._opening is not None:
            self._opening.add_done_callback(_close_unused)
        self._open.changes.close()

    def _reopen(self) -> None:
        if self._closed:  # the last to close removes the log
            raise StoreError(f"the vault {self.path} was closed")
        if (now := time.monotonic()) < self._again:
            raise StoreUnavailable(f"the vault {self.path} was replaced or removed")
        try:
            opened = self._opened_anew()
        except StoreError as error:
            self._again = now + _AGAIN
            self._errors.say(f"the vault was replaced or removed, and no call is answered: {error}")
            raise StoreUnavailable(str(error)) from None
        self._open.changes.close(wait=False)
        self._open = opened
        self._replaced += 1
        self._errors.say(f"the vault {self.path} was replaced: the new file is served")

    def _opened_anew(self) -> _Connections:
        """The file that is there, opened; StoreUnavailable while a KMS is asked for its keys, which is not waited for
        on the event loop."""
        if isinstance(self.keys.masters, Keyring):
            return _Connections(self.path, self.keys)
        if self._opening is None:
            pool = ThreadPoolExecutor(1, "oo-opening")
            self._opening = pool.submit(_Connections, self.path, self.keys)
            pool.shutdown(wait=False)
            wait([self._opening], _OPENS)
        if not self._opening.done():
            raise StoreUnavailable("its keys are being unwrapped")
        opening, self._opening = self._opening, None
        return opening.result()


def create(path: Path, masters: MasterKeys) -> None:
    """Make a new vault file, with keys and a root of its own; StoreError if the file exists."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        with sqlite.failures(path), sqlite.creating(path, SCHEMA) as db:
            run_sync(begin(SQLiteRows(db, path), masters))
    except FileExistsError:
        raise StoreError(f"there is a vault at {path} already") from None


def _unwatched(_: float | None) -> None:
    """Nobody counts the looks."""


def _log(path: Path) -> str:
    return f"{path}-wal"


def _close_unused(opening: Future[_Connections]) -> None:
    if opening.exception() is None:
        opening.result().changes.close(wait=False)
