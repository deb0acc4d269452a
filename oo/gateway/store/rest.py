"""What is left to do for whoever was cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from ..errors import StoreError
from ..throttled_log import ThrottledLog


class Rest:
    """Work that nobody waits for. What fails is said in the log."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._errors = ThrottledLog()

    def run(self, work: Coroutine[Any, Any, object]) -> None:
        """Do some work, as long as the loop runs."""
        task = asyncio.create_task(self._done(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Wait for what was begun."""
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _done(self, work: Coroutine[Any, Any, object]) -> None:
        try:
            await work
        except StoreError as error:
            self._errors.say(f"what a caller has left was not done: {error}")
