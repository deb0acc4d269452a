"""Syncs that the kernel makes beside an event loop (io_submit(2)).

A thread would wait for the interpreter's lock at each of its steps, and have the loop wait for it: a counted secret
takes 145 us of CPU time where it took 175 (`python -m benchmarks --row counted`).
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from .outcomes import Line, Outcome, tell

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
        self._context = context
        self._synced = synced
        self._failed = failed
        self._closed = False
        self._file = os.open(path, os.O_RDWR)
        try:
            loop.add_reader(context.fileno, self._look)
        except OSError:
            os.close(self._file)
            raise

    def tell(self, outcomes: list[Outcome]) -> None:
        """Tell what was committed, once it is on the disk."""
        self.line.add(outcomes)
        self._begin()

    def close(self) -> list[Outcome]:
        """Sync no more. Returns those who were not told."""
        left = self.line.leave()
        if not self._closed:
            self._closed = True
            os.close(self._file)  # a sync that has begun has its own hold of it
            with suppress(RuntimeError):  # the loop was closed
                self.loop.call_soon_threadsafe(self.loop.remove_reader, self._context.fileno)
            self._wait()
        return left

    def _wait(self) -> None:
        """Wait for the sync that has begun, a second at most: until then the kernel keeps what it was asked with."""
        until = time.monotonic() + 1
        while self.line.is_busy and not self._context.process_events() and time.monotonic() < until:
            time.sleep(0.001)

    def _begin(self) -> None:
        from caio.linux_aio import Operation

        if self.line.begin():
            try:
                self._operation = Operation.fdsync(self._file)
                self._context.submit(self._operation)
            except Exception:  # the library has one for each number of the system's
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
        tell(self.line.end())
        self._synced()
        self._begin()

    def _fail(self) -> None:
        self._failed(self.line.end() + self.close())


def opened() -> Context | None:
    """What asks the kernel for one sync at a time; None where the library is not installed, or the kernel refuses."""
    try:
        from caio.linux_aio import Context

        return Context(1)
    except (ImportError, OSError, SystemError):
        return None
