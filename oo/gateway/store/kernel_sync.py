"""Syncs that the kernel makes beside an event loop (io_submit(2)). A thread would wait for the interpreter's lock at
each of its steps, and have the loop wait for it: a counted call takes 145 us of CPU time where it took 175."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from .outcomes import Line, Outcome, told

if TYPE_CHECKING:
    from caio.linux_aio import Context


class KernelSync:
    """Has the kernel sync a file for those of one event loop who wait for it, and tells them. It ends with the first
    failure."""

    def __init__(
        self,
        path: str,
        context: Context,
        loop: asyncio.AbstractEventLoop,
        synced: Callable[[], object],
        failed: Callable[[list[Outcome]], object],
    ) -> None:
        """`synced` is called after each sync, `failed` with those who were not told after the one that failed."""
        self.line = Line()
        self.loop = loop
        self._file = os.open(path, os.O_RDWR)
        self._context = context
        self._synced = synced
        self._failed = failed
        loop.add_reader(context.fileno, self._look)

    def tell(self, outcomes: list[Outcome]) -> None:
        """Tell what was committed, once it is on the disk."""
        self.line.add(outcomes)
        if not self.line.is_busy:
            self._begin()

    def close(self) -> list[Outcome]:
        """Sync no more. Returns those who were not told."""
        try:
            self.loop.call_soon_threadsafe(self._leave)
        except RuntimeError:  # the loop was closed
            os.close(self._file)
        return self.line.leave()

    def _begin(self) -> None:
        from caio.linux_aio import Operation

        if self.line.begin():
            self._operation = Operation.fdsync(self._file)
            try:
                self._context.submit(self._operation)
            except (OSError, SystemError, ValueError):
                self._fail()

    def _look(self) -> None:
        """Tell those for whom a sync has ended, and begin the next."""
        with suppress(BlockingIOError):
            self._context.poll()
        if not self._context.process_events():
            return
        try:
            self._operation.get_value()
        except SystemError:  # what the kernel says of it
            self._fail()
            return
        told(self.line.end(), self.loop)
        self._synced()
        self._begin()

    def _fail(self) -> None:
        self._failed(self.close())

    def _leave(self) -> None:
        self.loop.remove_reader(self._context.fileno)
        os.close(self._file)


def opened() -> Context | None:
    """What asks the kernel for one sync at a time; None where the library is not installed, or the kernel refuses."""
    try:
        from caio.linux_aio import Context

        return Context(1)
    except (ImportError, OSError, SystemError):
        return None
