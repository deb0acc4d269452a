"""Group commit: the changes that wait at the same time share one transaction, and so one write to the disk."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

from ..errors import StoreError
from .batches import copy_of
from .sqlite import failures, transaction
from .sqlite_rows import SQLiteRecords
from .turns import Turn

logger = logging.getLogger("oo.gateway")
T = TypeVar("T")
Q = TypeVar("Q")
_PATIENCE = 10.0  # seconds that a change waits for a turn, which a process that was stopped may keep
_MOST = 64  # changes that share a transaction: other processes wait for its end
Work = Callable[[SQLiteRecords, list[Q]], Sequence[T]]
Asked = tuple[Work[Any, Any], Any, "asyncio.Future[Any]"]
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
        self._turn = Turn(path)
        self._waiting: list[Asked] = []
        self._closed = False
        self._lock = threading.Lock()
        self._came: float | None = None  # when the thread came for a turn that it has not got
        self._watch: asyncio.TimerHandle | None = None
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="oo-vault", daemon=True)
        self._thread.start()

    async def write(self, change: Callable[[SQLiteRecords], T]) -> T:
        """What `change` returns, once it is on the disk. It is made even if whoever waits is cancelled."""
        return await self.ask(lambda records, _: (change(records),), None)

    async def ask(self, work: Work[Q, T], question: Q) -> T:
        """The answer to a question, once what it changes is on the disk. `work` gives the answers to all that wait for
        it, in their order; where it raises, nothing is done of any."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        with self._lock:
            self._waiting.append((work, question, future))
            is_first = len(self._waiting) == 1
        if is_first:
            loop.call_soon(self._jobs.put, self._make)  # after what else this turn of the loop asks
            if self._watch is None:
                self._watch = loop.call_later(_PATIENCE / 2, self._look)
        return await future

    async def alone(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """What `work` returns, which begins its own transactions."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()

        def make() -> None:
            try:
                with failures(self._path), self._turn:
                    outcome: Outcome = future, work(self._records.db), None
            except Exception as error:  # whoever waits raises it
                outcome = future, None, error
            _told([outcome])

        self._jobs.put(make)
        return await future

    def close(self, *, wait: bool = True) -> None:
        """Take no further change. Returns when those are made that were begun, unless it is told not to wait."""
        if not self._closed:
            self._closed = True
            self._jobs.put(self._make)  # what no turn of a loop came to
            self._jobs.put(self._end)
            self._jobs.put(self._turn.close)
            self._jobs.put(None)
        while wait and self._thread.is_alive() and not self._is_late():
            self._thread.join(_PATIENCE / 100)

    def _is_late(self) -> bool:
        came = self._came
        return came is not None and time.monotonic() - came > _PATIENCE

    def _look(self) -> None:
        """Give up what has waited for a turn for too long, and look again while something waits."""
        if self._is_late():
            with self._lock:
                late, self._waiting = self._waiting, []
            why = f"the vault {self._path} failed: another process keeps it locked"
            _tell([(future, None, StoreError(why)) for *_, future in late])
        again = asyncio.get_running_loop().call_later
        self._watch = None if self._came is None else again(_PATIENCE / 2, self._look)

    def _run(self) -> None:
        for job in iter(self._jobs.get, None):
            try:
                job()
            except Exception as error:  # noqa: PERF203  # those who come after it are served
                logger.error("the vault's writer failed: %s", type(error).__name__)  # noqa: TRY400  # one line

    def _make(self) -> None:
        while self._waiting:
            self._came = time.monotonic()
            with self._turn:
                with self._lock:
                    self._came = None
                    asked, self._waiting = self._waiting[:_MOST], self._waiting[_MOST:]
                outcomes = self._committed(asked) if asked else []
            _told(outcomes)

    def _committed(self, asked: list[Asked]) -> list[Outcome]:
        groups: dict[Work[Any, Any], list[Asked]] = {}
        for each in asked:
            groups.setdefault(each[0], []).append(each)
        made: list[Outcome] = []
        culprit: Work[Any, Any] | None = None
        try:
            with failures(self._path), transaction(self._records.db):
                for culprit, group in groups.items():
                    answers = culprit(self._records, [question for _, question, _ in group])
                    made += [(future, answer, None) for (*_, future), answer in zip(group, answers, strict=True)]
                culprit = None
        except Exception as error:
            if culprit is None:
                return _failed(asked, error)
            failed = _failed(groups.pop(culprit), error)
            # The others once more: savepoints would cost each transaction two statements for every work.
            others = [each for group in groups.values() for each in group]
            return failed + (self._committed(others) if others else [])
        return made


def _failed(asked: list[Asked], error: Exception) -> list[Outcome]:
    """To each an error of its own, since each raises it in a task of its own."""
    return [(future, None, error if len(asked) == 1 else copy_of(error)) for *_, future in asked]


def _told(outcomes: list[Outcome]) -> None:
    """Have each loop tell those of it who wait, all at once."""
    for loop in {future.get_loop() for future, *_ in outcomes}:
        mine = [outcome for outcome in outcomes if outcome[0].get_loop() is loop]
        try:
            loop.call_soon_threadsafe(_tell, mine)
        except RuntimeError:  # the loop was closed, so nobody waits
            continue


def _tell(outcomes: list[Outcome]) -> None:
    for future, value, error in outcomes:
        if future.done():  # whoever waited was cancelled
            continue
        if error is None:
            future.set_result(value)
        else:
            future.set_exception(error)
