"""BlockingIO and LoopIO: the only ways that anything in a chain waits."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Hashable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import asyncio


class Event(Protocol):
    """A one-shot event."""

    def set(self) -> None:
        """Let every waiter go, now and later."""

    async def wait(self, seconds: float | None = None) -> bool:
        """Wait until it is set, at most `seconds`; False where it was not."""


class IO(Protocol):
    """How a chain waits. A middleware reaches it as `call_next.io`."""

    def now(self) -> float:
        """Seconds of a monotonic clock."""

    def scope(self) -> Hashable:
        """Who may wait for the same event: the threads of one process, or the tasks of one event loop."""

    async def sleep(self, seconds: float) -> None:
        """Wait that long."""

    def event(self) -> Event:
        """A new event, not set."""


class BlockingIO:
    """Waits by blocking the thread. Its coroutines never suspend."""

    def now(self) -> float:
        return time.monotonic()

    def scope(self) -> Hashable:
        # A flight that another thread had begun before a fork is never finished in the child.
        return os.getpid()

    async def sleep(self, seconds: float) -> None:
        time.sleep(seconds)  # noqa: ASYNC251  # to block is what this one is for

    def event(self) -> Event:
        return _ThreadEvent()


class LoopIO:
    """Waits on the running asyncio loop."""

    def now(self) -> float:
        return time.monotonic()

    def scope(self) -> Hashable:
        import asyncio

        return asyncio.get_running_loop()

    async def sleep(self, seconds: float) -> None:
        import asyncio

        await asyncio.sleep(seconds)

    def event(self) -> Event:
        return _LoopEvent()


class _ThreadEvent:
    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        self._event.set()

    async def wait(self, seconds: float | None = None) -> bool:
        return self._event.wait(seconds)


class _LoopEvent:
    __slots__ = ("_event",)

    def __init__(self) -> None:
        import asyncio

        self._event: asyncio.Event = asyncio.Event()

    def set(self) -> None:
        self._event.set()

    async def wait(self, seconds: float | None = None) -> bool:
        import asyncio

        try:
            await asyncio.wait_for(self._event.wait(), seconds)
        except asyncio.TimeoutError:
            return False
        return True
