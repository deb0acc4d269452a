"""What was read and opened, kept until somebody commits a change."""

from __future__ import annotations

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
