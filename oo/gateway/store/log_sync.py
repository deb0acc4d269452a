"""Whoever waits for a change is told of it once the disk has it."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable
from contextlib import closing, nullcontext
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from ..._core.files import synced
from ..errors import StoreError
from .batches import copy_of
from .turns import Turn

logger = logging.getLogger("oo.gateway")
_SYNC = getattr(os, "fdatasync", os.fsync)  # macOS and Windows have the latter alone
_PIECE = 1 << 20  # bytes of the log that are read at once
_OFTEN = 128  # syncs after which `often` is called
Outcome = tuple["asyncio.Future[Any]", Any, "Exception | None"]


class LogSync:
    """Syncs the write-ahead log of a vault, on a thread of its own, and tells what was committed before that. Where the
    disk fails, each is told so (StoreError)."""

    def __init__(self, path: Path, often: Callable[[], object] = lambda: None) -> None:
        """`often` is called on the thread now and then, for the log has grown."""
        self._path = path
        self._often = often
        self._count = 0
        self._is_named = False  # whether the disk has the log's own name
        self._has_failed = False
        self._log = os.open(f"{path}-wal", os.O_RDWR)
        self._lock = threading.Lock()
        self._left = 0  # calls of `tell` whose outcomes were not told
        self._after: list[Outcome] = []
        self._made: SimpleQueue[list[Outcome] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="oo-log", daemon=True)
        self._thread.start()

    def tell(self, outcomes: list[Outcome]) -> None:
        """Tell what was committed, once it is on the disk."""
        with self._lock:
            self._left += 1
        self._made.put(outcomes)

    def is_busy(self, after: Outcome) -> bool:
        """Whether the disk is waited for. If so, `after` is told when that has ended, before whoever waits for it."""
        with self._lock:
            if self._left:
                self._after.append(after)
            return self._left > 0

    def close(self) -> None:
        """Tell the rest, and close the log."""
        self._made.put(None)
        self._thread.join()
        os.close(self._log)

    def _run(self) -> None:
        for outcomes in iter(self._made.get, None):
            try:
                self._sync([outcomes, *self._more()])
            except Exception as error:  # noqa: PERF203  # those who come after it are served
                logger.error("syncing the vault's log failed: %s", type(error).__name__)  # noqa: TRY400  # one line

    def _more(self) -> list[list[Outcome]]:
        """What else was committed by now."""
        found: list[list[Outcome]] = []
        while True:
            try:
                outcomes = self._made.get_nowait()
            except Empty:
                return found
            if outcomes is None:
                self._made.put(None)
                return found
            found.append(outcomes)

    def _sync(self, committed: list[list[Outcome]]) -> None:
        outcomes = [outcome for some in committed for outcome in some]
        try:
            if self._has_failed:
                self._write_again()
            with nullcontext() if self._is_named else synced(str(self._path.parent)):
                _SYNC(self._log)
            self._is_named, self._has_failed = True, False
        except Exception as error:  # whatever it is: nothing else is committed until this has been told
            self._has_failed = True
            reason = error.strerror if isinstance(error, OSError) else type(error).__name__
            why = StoreError(f"the vault {self._path} failed: {reason}")
            outcomes = [(future, None, copy_of(why)) for future, *_ in outcomes]
        with self._lock:
            self._left -= len(committed)
            after, self._after = self._after, []
        told(after + outcomes)
        self._count += 1
        if self._count % _OFTEN == 0:
            self._often()

    def _write_again(self) -> None:
        """Write the whole log once more, for the next sync. What a failed one left unwritten, the system takes for
        written (fsync(2), EIO), and whatever was committed behind such a hole would be lost with it."""
        turn = Turn(self._path)
        with closing(turn), turn, open(f"{self._path}-wal", "r+b", buffering=0) as log:  # nobody else appends meanwhile
            while piece := log.read(_PIECE):
                log.seek(-len(piece), os.SEEK_CUR)
                log.write(piece)


def told(outcomes: list[Outcome]) -> None:
    """Have each loop tell those of it who wait, all at once."""
    for loop in {future.get_loop() for future, *_ in outcomes}:
        mine = [outcome for outcome in outcomes if outcome[0].get_loop() is loop]
        try:
            loop.call_soon_threadsafe(tell, mine)
        except RuntimeError:  # the loop was closed, so nobody waits
            continue


def tell(outcomes: list[Outcome]) -> None:
    """Tell those who wait, on their own loop."""
    for future, value, error in outcomes:
        if future.done():  # whoever waited was cancelled
            continue
        if error is None:
            future.set_result(value)
        else:
            future.set_exception(error)
