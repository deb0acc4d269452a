"""Group commit: the changes that wait at the same time share one transaction, and so one write to the disk."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from ..errors import StoreError
from .sqlite import failures, transaction
from .sqlite_rows import SQLiteRecords

T = TypeVar("T")
_MOST = 64  # changes that share a transaction: other processes wait for its end
Change = tuple[Callable[[SQLiteRecords], Any], "asyncio.Future[Any]"]
Outcome = tuple["asyncio.Future[Any]", Any, "Exception | None"]


class Writer:
    """Makes changes to a vault, on a thread of its own, in the order in which they were asked for.

    A change is made whole or not at all, whatever becomes of the others. StoreError where SQLite fails.
    """

    def __init__(self, records: SQLiteRecords, path: Path, end: Callable[[], None] = lambda: None) -> None:
        """`end` is called on the thread when all is made."""
        self._end = end
        self._records = records
        self._path = path
        self._waiting: list[Change] = []
        self._closed = False
        self._lock = threading.Lock()
        self._thread = ThreadPoolExecutor(1, "oo-vault")

    async def write(self, change: Callable[[SQLiteRecords], T]) -> T:
        """What `change` returns, once it is on the disk. It is made even if whoever waits is cancelled."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        with self._lock:
            self._waiting.append((change, future))
            is_first = len(self._waiting) == 1
        if is_first:
            self._thread.submit(self._make)
        return await future

    async def alone(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """What `work` returns, which begins its own transactions."""

        def safe() -> T:
            with failures(self._path):
                return work(self._records.db)

        return await asyncio.get_running_loop().run_in_executor(self._thread, safe)

    def close(self, *, wait: bool = True) -> None:
        """Take no further change. Returns when those are made that were begun, unless it is told not to wait."""
        if not self._closed:
            self._closed = True
            self._thread.submit(self._end)
        self._thread.shutdown(wait=wait)

    def _make(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, []
        for start in range(0, len(waiting), _MOST):
            outcomes = self._committed(waiting[start : start + _MOST])
            for loop in {future.get_loop() for future, *_ in outcomes}:
                mine = [outcome for outcome in outcomes if outcome[0].get_loop() is loop]
                try:
                    loop.call_soon_threadsafe(_tell, mine)
                except RuntimeError:  # the loop was closed, so nobody waits
                    continue

    def _committed(self, changes: list[Change]) -> list[Outcome]:
        try:
            with failures(self._path), transaction(self._records.db):
                return [self._made(change, future, single=len(changes) == 1) for change, future in changes]
        except Exception as error:
            # To each an error of its own, since each raises it in a task of its own.
            return [(future, None, error if len(changes) == 1 else _copy(error)) for _, future in changes]

    def _made(self, change: Callable[[SQLiteRecords], Any], future: asyncio.Future[Any], *, single: bool) -> Outcome:
        if single:
            return future, change(self._records), None
        db = self._records.db
        db.execute("SAVEPOINT one")
        try:
            with failures(self._path):
                value = change(self._records)
        except Exception as error:
            if not db.in_transaction:
                raise  # a full disk has ended it, and with it the changes before this one
            db.execute("ROLLBACK TO one")
            return future, None, error
        finally:
            if db.in_transaction:
                db.execute("RELEASE one")
        return future, value, None


def _copy(error: Exception) -> Exception:
    return StoreError(str(error)) if isinstance(error, StoreError) else RuntimeError(type(error).__name__)


def _tell(outcomes: list[Outcome]) -> None:
    for future, value, error in outcomes:
        if future.done():  # whoever waited was cancelled
            continue
        if error is None:
            future.set_result(value)
        else:
            future.set_exception(error)
