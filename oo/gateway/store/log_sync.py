"""Whoever waits for a change is told of it once the disk has it."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable
from contextlib import closing, nullcontext, suppress
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

from ..._core.files import synced
from ..errors import StoreUnavailable
from ..throttled_log import ThrottledLog
from .batches import copy_of
from .kernel_sync import KernelSync, opened
from .outcomes import Line, Outcome, told
from .turns import Turn

if TYPE_CHECKING:
    from caio.linux_aio import Context

logger = logging.getLogger("oo.gateway")
_SYNC = getattr(os, "fdatasync", os.fsync)  # macOS and Windows have the latter alone
_PIECE = 1 << 20  # bytes of the log that are read at once
_OFTEN = 128  # syncs after which `often` is called


class LogSync:
    """Syncs the write-ahead log of a vault, and tells what was committed before that. Where the disk fails, each is
    told so (StoreUnavailable).

    The first sync is made on a thread of its own, and so is each after a failure. In between the kernel makes those of
    one event loop where it can (KernelSync).
    """

    def __init__(self, path: Path, often: Callable[[], object] = lambda: None) -> None:
        """`often` is called now and then, for the log has grown."""
        self._path = path
        self._often = often
        self._count = 0
        self._is_named = False  # whether the disk has the log's own name
        self._has_failed = False
        self._errors = ThrottledLog()
        self._log = os.open(f"{path}-wal", os.O_RDWR)
        self._line = Line()
        self._context: Context | None = None
        self._kernel: KernelSync | None = None
        self._wanted: SimpleQueue[bool] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="oo-log", daemon=True)
        self._thread.start()

    def tell(self, outcomes: list[Outcome], here: asyncio.AbstractEventLoop | None = None) -> None:
        """Tell what was committed, once it is on the disk. `here` is the event loop that runs here, if one does."""
        if self._context is not None and here is not None:
            context, self._context = self._context, None
            with suppress(OSError):  # no further file can be opened: the thread goes on
                self._kernel = KernelSync(f"{self._path}-wal", context, here, self._made, self._fail)
        kernel = self._kernel  # which a close takes away
        # Who waits on another loop does not wait for this one, which may end.
        if kernel is not None and kernel.loop is here and all(future.get_loop() is here for future, *_ in outcomes):
            kernel.tell(outcomes)
        else:
            self._line.add(outcomes)
            self._wanted.put(True)

    def has_waited(self, seconds: float) -> bool:
        """Whether the disk is waited for, and has been for so long."""
        kernel = self._kernel
        return self._line.has_waited(seconds) or (kernel is not None and kernel.line.has_waited(seconds))

    def give_up(self) -> None:
        """Tell all who wait that the disk does not answer."""
        kernel = self._kernel
        left = self._line.leave() + (kernel.line.leave() if kernel is not None else [])
        told(self._failed(left, "its disk has not taken it"))

    def close(self) -> None:
        """Tell the rest, and close the log."""
        kernel, self._kernel, self._context = self._kernel, None, None
        if kernel is not None:
            self._line.add(kernel.close())
        for goes_on in (True, False):
            self._wanted.put(goes_on)
        self._thread.join()
        os.close(self._log)

    def _run(self) -> None:
        while self._wanted.get():
            try:
                if self._line.begin():
                    self._sync()
            except Exception as error:  # noqa: PERF203  # those who come after it are served
                logger.error("syncing the vault's log failed: %s", type(error).__name__)  # noqa: TRY400  # one line

    def _sync(self) -> None:
        has_failed, self._has_failed = self._has_failed, False
        failure: str | None = None
        try:
            if has_failed:
                self._write_again()
            with nullcontext() if self._is_named else synced(str(self._path.parent)):
                _SYNC(self._log)
        except Exception as error:  # whatever it is: those who wait are told
            self._has_failed, failure = True, getattr(error, "strerror", None) or type(error).__name__
        outcomes = self._line.end()
        told(outcomes if failure is None else self._failed(outcomes, failure))
        if failure is None and not self._is_named:
            self._is_named = True
            self._context = opened()
        self._made()

    def _made(self) -> None:
        self._count += 1
        if self._count % _OFTEN == 0:
            self._often()

    def _fail(self, left: list[Outcome]) -> None:
        """Have the thread write the log again, for those whom the kernel could not serve."""
        self._kernel, self._has_failed = None, True
        self._line.add(left)
        self._wanted.put(True)

    def _failed(self, outcomes: list[Outcome], reason: str) -> list[Outcome]:
        """What each is told, for whom the change may have been made all the same."""
        why = StoreUnavailable(f"the vault {self._path} failed: {reason}", unsure=True)
        self._errors.say(str(why))
        return [(future, None, copy_of(why)) for future, *_ in outcomes]

    def _write_again(self) -> None:
        """Write the whole log once more, for the next sync. What a failed one left unwritten, the system takes for
        written (fsync(2), EIO), and whatever was committed behind such a hole would be lost with it."""
        turn = Turn(self._path)
        with closing(turn), turn, open(f"{self._path}-wal", "r+b", buffering=0) as log:  # nobody else appends meanwhile
            while piece := log.read(_PIECE):
                log.seek(-len(piece), os.SEEK_CUR)
                log.write(piece)
