"""One timer of a loop for all that must not take too long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

_NEVER = float("inf")


class Deadlines:
    """Tells what takes longer than its time. A timer for each call would cost more than what it watches: nearly all of
    them are cancelled."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._ends: dict[Callable[[], None], float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._next = _NEVER  # when the timer is due, which may be before any of them is

    def after(self, seconds: float) -> float:
        """An instant that many seconds from here."""
        return self._loop.time() + seconds

    def add(self, late: Callable[[], None], end: float) -> None:
        """Call `late` at the instant `end` of the loop's clock, unless it is removed before."""
        self._ends[late] = end
        if end < self._next:
            self._wait(end)

    def remove(self, late: Callable[[], None]) -> None:
        """Do not call it any more."""
        self._ends.pop(late, None)

    def _wait(self, end: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._next, self._timer = end, self._loop.call_at(end, self._look)

    def _look(self) -> None:
        self._next, self._timer, now = _NEVER, None, self._loop.time()
        for late in [late for late, end in self._ends.items() if end <= now]:
            if self._ends.pop(late, None) is not None:  # which another's may have removed
                late()
        if self._ends:
            self._wait(min(self._ends.values()))
