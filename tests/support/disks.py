"""A disk that takes its time, and who waits for it."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

from oo.gateway.store.log_sync import LogSync
from oo.gateway.store.outcomes import Outcome
from tests.support.waiting import PATIENCE


class Disk:
    """Takes its time for each sync, until `go`."""

    def __init__(self) -> None:
        self.go, self.begun = threading.Event(), threading.Event()
        self.syncs = 0

    def __call__(self, _handle: int) -> None:
        self.begun.set()
        assert self.go.wait(10)
        self.syncs += 1


async def until_kernel_syncs(log: LogSync) -> None:
    """Wait until a log whose first sync was made leaves the next to the kernel."""
    until = time.monotonic() + PATIENCE
    while log._context is None:
        assert time.monotonic() < until
        await asyncio.sleep(0.001)


def outcome(value: Any, error: Exception | None = None) -> Outcome:
    return asyncio.get_running_loop().create_future(), value, error
