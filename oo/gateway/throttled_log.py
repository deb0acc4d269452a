"""Rate-limited logging: each distinct message at most once a minute."""

from __future__ import annotations

import logging
import time

logger = logging.getLogger("oo.gateway")

_MINUTE = 60.0


class ThrottledLog:
    """Logs each distinct message at most once a minute."""

    def __init__(self) -> None:
        self._said: dict[str, float] = {}

    def say(self, what: str, detail: str = "") -> None:
        """Log an error, unless the same text was logged less than a minute ago. A `detail` may differ each time."""
        now = time.monotonic()
        if now - self._said.get(what, float("-inf")) >= _MINUTE:
            self._said[what] = now
            logger.error("%s%s", what, detail)
