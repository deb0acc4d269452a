"""The minimum rate at which a body must pass."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

MIN_RATE_WINDOW = 30.0
"""Seconds in which `MIN_RATE_BYTES` of a body must arrive, or of an answer be taken."""
MIN_RATE_BYTES = 16 << 10


class MinDataRate:
    """Calls `slow` once fewer than MIN_RATE_BYTES have passed in MIN_RATE_WINDOW seconds, by the count that `passed`
    gives."""

    def __init__(self, passed: Callable[[], int], slow: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._passed = passed
        self._slow = slow
        self._timer: asyncio.TimerHandle
        self._begin()

    def pause(self) -> None:
        """Let no time pass, since nothing can."""
        self._timer.cancel()
        self._left = self._timer.when() - self._loop.time()

    def resume(self) -> None:
        """Go on after `pause`."""
        self._timer = self._loop.call_later(self._left, self._look)

    def stop(self) -> None:
        """Stop watching: nothing is left to pass."""
        self._timer.cancel()

    def _begin(self) -> None:
        self._seen = self._passed()
        self._timer = self._loop.call_later(MIN_RATE_WINDOW, self._look)

    def _look(self) -> None:
        if self._passed() - self._seen < MIN_RATE_BYTES:
            self._slow()
        else:
            self._begin()
