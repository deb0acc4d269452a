"""A disk that takes its time, and who waits for it."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from oo.gateway.store.outcomes import Outcome


class Disk:
    """Takes its time for each sync, until `go`."""

    def __init__(self) -> None:
        self.go, self.begun = threading.Event(), threading.Event()
        self.syncs = 0

    def __call__(self, _handle: int) -> None:
        self.begun.set()
        assert self.go.wait(10)
        self.syncs += 1


def outcome(value: Any, error: Exception | None = None) -> Outcome:
    return asyncio.get_running_loop().create_future(), value, error
