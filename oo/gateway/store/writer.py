"""Group commit: the changes that wait at the same time share one transaction, and so one write to the disk."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

from ..errors import StoreError, StoreUnavailable
from ..throttled_log import ThrottledLog
from .batches import copy_of
from .log_sync import LogSync
from .outcomes import Outcome, told
from .sqlite import begun, carry_over, failures, patient
from .sqlite_rows import SQLiteRecords
from .turns import Turn

logger = logging.getLogger("oo.gateway")
T = TypeVar("T")
Q = TypeVar("Q")
_PATIENCE = 10.0  # seconds that a change waits for a turn, which a process that was stopped may keep
_MOST = 64  # changes that share a transaction: other processes wait for its end
Work = Callable[[SQLiteRecords, list[Q]], Sequence[T]]
Peek = Callable[[], "T | None"]
Asked = tuple[Work[Any, Any], Any, "Peek[Any] | None", "asyncio.Future[Any]"]


class Writer:
    """Makes changes to a vault, in the order in which they were asked for.

    A change is made whole or not at all, whatever becomes of the others. StoreError where SQLite fails. Nobody is told
    of a change that is not on the disk; others may see it a moment before.

    The changes are made on the event loop: a thread would wait at each statement for its turn among those of its
    process. What may take its time is a thread's: a file that another process is writing to, and the disk (LogSync).
    """

    def __init__(self, records: SQLiteRecords, path: Path, end: Callable[[], None] = lambda: None) -> None:
        """`end` is called on the thread when all is made."""
        self._end = end
        self._records = records
        self._path = path
        self._turn = Turn(path)
        self._waiting: list[Asked] = []
        self._seen = 0  # of what waits, a turn of the loop ago
        self._due: asyncio.AbstractEventLoop | None = None  # the loop that is to make what waits
        self._closed = self._ended = False
        self._errors = ThrottledLog()
        self._lock = threading.Lock()
        self._free = threading.Lock()  # the connection is used on one thread at a time
        self._reading = threading.Lock()  # and so is the other
        self._came: float | None = None  # when the thread came for a turn that it has not got
        self._watching: asyncio.AbstractEventLoop | None = None  # the loop that looks after what waits
        # The disk is left to LogSync, where SQLite would wait for it within a commit.
        for setting in ("synchronous = NORMAL", "wal_autocheckpoint = 0", "busy_timeout = 0"):
            records.db.execute(f"PRAGMA {setting}")
        self._jobs: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._disk = LogSync(path, lambda: self._jobs.put(self._carry_over))
        self._thread = threading.Thread(target=self._run, name="oo-vault", daemon=True)
        self._thread.start()

    async def write(self, change: Callable[[SQLiteRecords], T]) -> T:
        """What `change` returns, once it is on the disk. It is made even if whoever waits is cancelled."""
        return await self.ask(lambda records, _: (change(records),), None)

    async def ask(self, work: Work[Q, T], question: Q, peek: Peek[T] | None = None) -> T:
        """The answer to a question, once what it changes is on the disk. `work` gives the answers to all that wait for
        it, in their order; where it raises, nothing is done of any. It may be called again if another work fails.
        Where the file is not free, `peek` is called first, and what it gives is the answer unless that is None."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        with self._lock:  # what is added before the close is made by it
            self._check_open()
            self._waiting.append((work, question, peek, future))
        self._gather(loop)
        return await future

    async def on_disk(self) -> None:
        """Wait until the disk has what was committed so far, by whomever."""
        if self._closed:
            return  # the last thing that it does is this
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        self._disk.tell([(future, None, None)], loop)
        self._watch_over(loop)
        await future

    def look(self, read: Callable[[SQLiteRecords], T], elsewhere: SQLiteRecords) -> T:
        """What `read` returns, by the connection that writes, which keeps what it knows of the file across its own
        changes; by another's records where it is not free, or the file is locked."""
        if self._free.acquire(blocking=False):
            try:
                return read(self._records)
            except (StoreError, sqlite3.Error) as error:
                if "locked" not in str(error):
                    raise
            finally:
                self._free.release()
        with self._reading:
            return read(elsewhere)

    async def alone(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """What `work` returns, which begins its own transactions."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()

        def make() -> None:
            try:
                with self._in_turn(), failures(self._path), patient(self._records.db, _PATIENCE):
                    self._came = None
                    outcome: Outcome = future, work(self._records.db), None
            except Exception as error:  # whoever waits raises it
                outcome = future, None, error
            self._disk.tell([outcome])

        with self._lock:  # as in `ask`
            self._check_open()
            self._jobs.put(make)
        return await future

    def close(self, *, wait: bool = True) -> None:
        """Take no further change. Returns when those are made that were begun, unless it is told not to wait, or they
        wait for too long."""
        with self._lock:  # so that no work comes between these
            if not self._closed:
                self._closed = True
                # `_make` makes what no turn of a loop came to.
                ends = self._leave, self._disk.close, self._end_reading, self._turn.close, self._refuse
                for job in (self._make, *ends, None):
                    self._jobs.put(job)
        while wait and self._thread.is_alive():
            if self._has_waited(_PATIENCE) or self._disk.has_waited(_PATIENCE):
                break
            self._thread.join(_PATIENCE / 100)

    def _leave(self) -> None:
        """Leave the file, which is never free again."""
        self._free.acquire()
        self._ended = True

    def _end_reading(self) -> None:
        with self._reading:
            self._end()

    def _refuse(self) -> None:
        """Tell those who came while the vault was closed."""
        with self._lock:
            late, self._waiting = self._waiting, []
        told(_failed(late, StoreError(f"the vault {self._path} was closed")))

    def _check_open(self) -> None:
        if self._closed:
            raise StoreError(f"the vault {self._path} was closed")

    def _gather(self, loop: asyncio.AbstractEventLoop) -> None:
        """Have this loop make what waits, unless one is about to. A loop that was closed is about to do nothing."""
        if self._waiting and (self._due is None or self._due.is_closed()):
            self._due = loop
            loop.call_soon(self._make_here)  # after what else this turn of the loop asks

    def _make_here(self) -> None:
        """Make what waits on the event loop, or leave it to the thread where the file is not free."""
        loop = asyncio.get_running_loop()
        if self._grows():
            loop.call_soon(self._make_here)
            return
        self._due = None
        if not self._waiting:
            return
        self._watch_over(loop)
        if self._begin_here():
            before = self._records.db.total_changes
            try:
                outcomes = self._group(self._next())
                # Whoever changed nothing does not wait for the disk.
                (told if self._records.db.total_changes == before else self._disk.tell)(outcomes, loop)
            finally:
                self._turn.leave()
                self._free.release()
            self._gather(loop)
        else:
            self._peek(loop)
            self._jobs.put(self._make)
            if self._ended:  # no job is done any more
                self._refuse()

    def _peek(self, loop: asyncio.AbstractEventLoop) -> None:
        """Answer what can be answered by reading alone. Each is asked once, and what waits stays in its order: who was
        cancelled may have undone behind it what it asked for."""
        found: dict[asyncio.Future[Any], Any] = {}
        for _, _, peek, future in list(self._waiting):
            if peek is not None:
                found[future] = None
                with suppress(StoreError):  # the thread says what is wrong
                    found[future] = peek()
        answered: list[Outcome] = []
        with self._lock:  # the thread may have taken some
            asked, self._waiting = self._waiting, []
            for work, question, peek, future in asked:
                if found.get(future) is not None:
                    answered.append((future, found[future], None))
                else:
                    self._waiting.append((work, question, None if future in found else peek, future))
        told(answered, loop)

    def _grows(self) -> bool:
        """Whether more came in the last turn of the loop, so that more may come in the next."""
        waiting = len(self._waiting)
        grows = self._seen < waiting < _MOST
        self._seen = waiting if grows else 0
        return grows

    def _begin_here(self) -> bool:
        """Begin a transaction, unless that would have to be waited for."""
        if self._closed or not self._free.acquire(blocking=False):
            return False
        begun = False
        try:
            if self._turn.take(wait=False):
                self._records.db.execute("BEGIN IMMEDIATE")
                begun = True
        except Exception:  # the thread tries again, and says what is wrong
            self._turn.leave()
        finally:
            if not begun:
                self._free.release()
        return begun

    def _has_waited(self, seconds: float) -> bool:
        """Whether the thread has waited for a turn for so long."""
        came = self._came
        return came is not None and time.monotonic() - came >= seconds

    def _watch_over(self, loop: asyncio.AbstractEventLoop) -> None:
        """Have this loop look after those who wait, unless one does."""
        if self._watching is None or self._watching.is_closed():
            self._watching = loop
            loop.call_later(_PATIENCE / 2, self._look)

    def _look(self) -> None:
        """Give up what has waited for too long, and look again while something waits."""
        loop, self._watching = asyncio.get_running_loop(), None
        if self._has_waited(_PATIENCE):
            with self._lock:
                late, self._waiting = self._waiting, []
            why = f"the vault {self._path} failed: another process keeps it locked"
            self._errors.say(why)
            told([(future, None, StoreUnavailable(why)) for *_, future in late], loop)
        if self._disk.has_waited(_PATIENCE):
            self._disk.give_up()
        if self._waiting or self._has_waited(0) or self._disk.has_waited(0):
            self._watch_over(loop)

    def _run(self) -> None:
        for job in iter(self._jobs.get, None):
            try:
                job()
            except Exception as error:  # noqa: PERF203  # those who come after it are served
                logger.error("the vault's writer failed: %s", type(error).__name__)  # noqa: TRY400  # one line

    def _make(self) -> None:
        while self._waiting and not self._ended:
            with self._in_turn():
                asked = self._next()
                try:
                    with failures(self._path), patient(self._records.db, _PATIENCE):
                        self._records.db.execute("BEGIN IMMEDIATE")
                except StoreError as error:
                    outcomes = _failed(asked, error)
                else:
                    self._came = None
                    outcomes = self._group(asked)
            self._disk.tell(outcomes)

    def _next(self) -> list[Asked]:
        with self._lock:
            asked, self._waiting = self._waiting[:_MOST], self._waiting[_MOST:]
        return asked

    def _group(self, asked: list[Asked]) -> list[Outcome]:
        """Make changes in the transaction that has begun. Where one fails, the others wait again."""
        groups: dict[Work[Any, Any], list[Asked]] = {}
        for each in asked:
            groups.setdefault(each[0], []).append(each)
        made: list[Outcome] = []
        culprit: Work[Any, Any] | None = None
        try:
            with failures(self._path), begun(self._records.db):
                for culprit, group in groups.items():
                    answers = culprit(self._records, [question for _, question, *_ in group])
                    made += [(future, answer, None) for (*_, future), answer in zip(group, answers, strict=True)]
                culprit = None
        except Exception as error:
            if culprit is None:
                return _failed(asked, error)
            failed = groups.pop(culprit)
            # The others once more: savepoints would cost each transaction two statements for every work.
            with self._lock:
                self._waiting = [each for group in groups.values() for each in group] + self._waiting
            return _failed(failed, error)
        return made

    def _carry_over(self) -> None:
        """Carry the log over into the file, in a turn: while others write, it would never be done."""
        if not self._closed:
            with self._in_turn():
                self._came = None
                carry_over(self._records.db)

    @contextmanager
    def _in_turn(self) -> Iterator[None]:
        """Hold the connection, and a turn, whose waiting the block ends (`_came`)."""
        with self._free:
            self._came = time.monotonic()
            try:
                with self._turn:
                    yield
            finally:
                self._came = None


def _failed(asked: list[Asked], error: Exception) -> list[Outcome]:
    """To each an error of its own, since each raises it in a task of its own."""
    return [(future, None, error if len(asked) == 1 else copy_of(error)) for *_, future in asked]
