"""What was read: kept until somebody commits a change, or shared by those who asked before it was read."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

T = TypeVar("T")
_FRESH = 0.001  # seconds for which `version` is not asked again: one request reads three things


class ReadCache:
    """Keeps what was read for as long as `version()` gives the same. Asks for it at most once a millisecond."""

    def __init__(self, version: Callable[[], Hashable]) -> None:
        self._version = version
        self._seen: Hashable = None
        self._checked = float("-inf")
        self._kept: dict[Hashable, Any] = {}

    def get(self, key: Hashable, read: Callable[[], T]) -> T:
        """The value of `key`: the one that is kept, else what `read` returns, which is kept unless it is None."""
        now = time.monotonic()
        if now - self._checked > _FRESH:
            version = self._version()  # where it fails, nothing that is kept is given
            self._checked = now
            if version != self._seen:
                self._seen, self._kept = version, {}
        if key in self._kept:
            kept: T = self._kept[key]
            return kept
        value = read()
        # A missing thing isn't kept: callers could ask for ever more names.
        if value is not None:
            self._kept[key] = value
        return value

    def expire(self) -> None:
        """Ask for the version at the next read, however soon that is."""
        self._checked = float("-inf")


class SharedReads:
    """Shares what was read with all who ask for it in the same turn of the event loop.

    A turn handles what had come before it began, so each caller is answered by a read that began after it came. What is
    counted is read this way: it changes with each call, and is never kept.
    """

    def __init__(self) -> None:
        self._turn: tuple[asyncio.AbstractEventLoop | None, dict[Hashable, Any]] = None, {}

    def get(self, key: Hashable, read: Callable[[], T]) -> T:
        """What `read` returns, or returned earlier in this turn."""
        here = asyncio.get_running_loop()
        loop, shared = self._turn
        if loop is not here:  # what another loop's turn shares is not this one's
            shared = {}
            self._turn = here, shared
        if key in shared:
            found: T = shared[key]
            return found
        value = read()
        if not shared:
            here.call_soon(shared.clear)  # before what comes from now on is handled
        shared[key] = value
        return value
