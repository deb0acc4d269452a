"""What became of changes, and who waits to be told."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

Outcome = tuple["asyncio.Future[Any]", Any, "Exception | None"]
"""Who waits, and what they get: a value, or an error."""


class Line:
    """Those who wait for a sync of the disk: for the one that is being made, or for the next."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._now: list[Outcome] = []
        self._next: list[Outcome] = []
        self._since: float | None = None
        self.is_busy = False
        """Whether a sync is being made."""

    def add(self, outcomes: list[Outcome]) -> None:
        """Have them wait for the next."""
        with self._lock:
            self._next += outcomes
            if outcomes and self._since is None:
                self._since = time.monotonic()

    def begin(self) -> bool:
        """Begin a sync for all who wait; False if nobody does, or one is being made."""
        with self._lock:
            if self.is_busy or not self._next:
                return False
            self._now, self._next = self._next, []
            self._since, self.is_busy = time.monotonic(), True
            return True

    def end(self) -> list[Outcome]:
        """End it. Returns those for whom it was made."""
        with self._lock:
            ended, self._now, self.is_busy = self._now, [], False
            self._since = time.monotonic() if self._next else None
        return ended

    def has_waited(self, seconds: float) -> bool:
        """Whether somebody waits, and the disk has done nothing for so long."""
        since = self._since
        return since is not None and time.monotonic() - since >= seconds

    def leave(self) -> list[Outcome]:
        """Everybody, who waits no longer."""
        with self._lock:
            left, self._now, self._next = self._now + self._next, [], []
            self._since = self._since if self.is_busy else None
        return left


def told(outcomes: list[Outcome], here: asyncio.AbstractEventLoop | None = None) -> None:
    """Have each loop tell those of it who wait, all at once; the one that runs here at once."""
    for loop in {future.get_loop() for future, *_ in outcomes}:
        mine = [outcome for outcome in outcomes if outcome[0].get_loop() is loop]
        if loop is here:
            tell(mine)
            continue
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
