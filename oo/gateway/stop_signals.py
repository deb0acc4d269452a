"""What tells a process to stop, and how often it was told."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable

DRAIN = signal.SIGTERM if sys.platform == "win32" else signal.SIGUSR2
"""What tells a worker to end when its calls have. Its supervisor alone sends it; SIGINT and SIGTERM may go to all of a
group, and a worker that stopped listening by itself would have nobody accept what still comes."""

HURRY = signal.SIGINT if sys.platform == "win32" else signal.SIGUSR1
"""What tells a worker to end at once, its supervisor alone too."""

TOGETHER = 0.5
"""Seconds within which signals are one: a group of processes is told, and again by one of it that passes it on."""


class StopSignals:
    """Counts what tells a process to stop."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self.count = 0
        """Times that it was told, on purpose."""
        self._now = now
        self._first = 0.0

    def note(self) -> None:
        """Count a signal, unless it comes with the first."""
        if not self.count:
            self._first = self._now()
        elif self._now() - self._first < TOGETHER:
            return
        self.count += 1
