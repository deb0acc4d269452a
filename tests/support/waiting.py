"""Waiting: who waits, and for how long."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from typing import TypeVar

from oo._core.io import IO, Event

PATIENCE = 60.0  # seconds, of which a run that is well takes none
SOON = 5.0  # seconds: late by any limit of a test, and early for what would not end by itself
Given = TypeVar("Given")


def on_time(call: Callable[[], Given], limit: float) -> Given:
    """What a call gives that its limit (seconds) ends.

    It may not end before the limit. On a machine that is busy elsewhere it may end late, so it is compared with what it
    waits for, which has to take longer than SOON and than ten times the limit.
    """
    began = time.monotonic()
    given = call()
    took = time.monotonic() - began
    assert limit - 0.01 <= took < max(SOON, 10 * limit)
    return given


def unhurried(told: list[str]) -> list[str]:
    """What a program told, less what asyncio's debug mode tells of slow steps."""
    return [line for line in told if not line.startswith("Executing <")]


class Watched:
    """An IO that counts who waits for an event, so that a test need not guess when all of them do."""

    def __init__(self, io: IO) -> None:
        self._io = io
        self._changed = threading.Condition()
        self.waiting = 0

    def now(self) -> float:
        return self._io.now()

    def scope(self) -> Hashable:
        return self._io.scope()

    async def sleep(self, seconds: float) -> None:
        await self._io.sleep(seconds)

    def event(self) -> Event:
        return _WatchedEvent(self, self._io.event())

    def until(self, waiting: int) -> bool:
        """Block until so many have begun to wait, each flight counted anew."""
        with self._changed:
            return self._changed.wait_for(lambda: self.waiting >= waiting, PATIENCE)

    def one_more(self) -> None:
        with self._changed:
            self.waiting += 1
            self._changed.notify_all()


class _WatchedEvent:
    def __init__(self, watched: Watched, event: Event) -> None:
        self._watched = watched
        self._event = event

    def set(self) -> None:
        self._event.set()

    async def wait(self, seconds: float | None = None) -> bool:
        # Whoever comes here has found its flight, and so gets what becomes of that.
        self._watched.one_more()
        return await self._event.wait(seconds)
