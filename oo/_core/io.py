"""BlockingIO and LoopIO: the only ways that anything in a chain waits."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any, Protocol

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

    now = staticmethod(time.monotonic)

    def scope(self) -> Hashable:
        # A flight that another thread had begun before a fork is never finished in the child.
        return os.getpid()

    async def sleep(self, seconds: float) -> None:
        time.sleep(seconds)  # noqa: ASYNC251  # to block is what this one is for

    def event(self) -> Event:
        return _ThreadEvent()


class LoopIO:
    """Waits on the running asyncio loop."""

    now = staticmethod(time.monotonic)

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
    __slots__ = ("_is_set", "_waiters")

    def __init__(self) -> None:
        self._is_set = False
        self._waiters: dict[asyncio.Future[bool], None] = {}

    def set(self) -> None:
        self._is_set = True
        for waiter in self._waiters:
            _resolve(waiter, True)

    async def wait(self, seconds: float | None = None) -> bool:
        # Not asyncio.wait_for: before Python 3.12 it loses a cancellation that comes in the same turn as the event.
        import asyncio

        if self._is_set:
            return True
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[bool] = loop.create_future()
        timer = None if seconds is None else loop.call_later(seconds, _resolve, waiter, False)
        self._waiters[waiter] = None
        try:
            return await waiter
        finally:
            del self._waiters[waiter]
            if timer is not None:
                timer.cancel()


def _resolve(waiter: asyncio.Future[bool], value: bool) -> None:
    if not waiter.done():
        waiter.set_result(value)


def retrieved(done: asyncio.Future[Any]) -> None:
    """Take note of the error of what has ended, for which nobody may wait: asyncio would log it else. A callback."""
    if not done.cancelled():
        done.exception()


def unwritten(transport: asyncio.WriteTransport) -> int:
    """The bytes that one of asyncio's transports was given and has not written."""
    try:
        return transport.get_write_buffer_size()
    except AttributeError:  # Python 3.10's TLS, from the loss of its socket until its protocol is told
        return 0
