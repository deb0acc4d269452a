"""What goes wrong without end is said now and then."""

from __future__ import annotations

import logging
import time

logger = logging.getLogger("oo.gateway")

_MINUTE = 60.0


class ThrottledLog:
    """A line for each thing that goes wrong, and one a minute for the same."""

    def __init__(self) -> None:
        self._said: dict[str, float] = {}

    def say(self, what: str) -> None:
        """Log it, unless that was done less than a minute ago."""
        now = time.monotonic()
        if now - self._said.get(what, float("-inf")) >= _MINUTE:
            self._said[what] = now
            logger.error("%s", what)
