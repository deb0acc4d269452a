"""An IO that knows who waits."""

from __future__ import annotations

import threading
from collections.abc import Hashable

from oo._io import IO, Event

PATIENCE = 30.0  # seconds, of which a run that is well takes none


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
