"""Work that is completed even if whoever waits for it has left."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol, TypeVar

from .._core.io import retrieved
from .capacity import Place

T = TypeVar("T")
_GRACE = 1.0  # seconds that it is given when the gateway stops


class Caller(Protocol):
    """Whoever has asked for a call, by a connection.

    Attributes:
        is_held: whether the call goes on where they leave; else it is cancelled.
        has_left: whether they have.
    """

    is_held: bool

    @property
    def has_left(self) -> bool: ...


class _Held:
    """Holds a task until the block ends: with a generator it would take three times as long."""

    __slots__ = ("_caller", "_task", "_tasks")

    def __init__(self, tasks: set[asyncio.Task[Any]], task: asyncio.Task[Any], caller: Caller) -> None:
        self._tasks = tasks
        self._task = task
        self._caller = caller

    def __enter__(self) -> None:
        self._caller.is_held = True
        self._tasks.add(self._task)

    def __exit__(self, *_: object) -> None:
        self._caller.is_held = False
        self._tasks.discard(self._task)


class Background:
    """The tasks of work that must be completed."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def spawn(self, work: Coroutine[Any, Any, T], place: Place | None = None) -> asyncio.Task[T]:
        """Run a coroutine as a task of its own, which holds the place of its call, if it has one, until it ends."""
        task = asyncio.create_task(work)
        if place is not None:
            place.hold()
            task.add_done_callback(place.release)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    async def complete(self, work: Coroutine[Any, Any, T]) -> T:
        """What a coroutine returns, which goes on where whoever waits for it is cancelled."""
        return await asyncio.shield(self.spawn(work))

    def held(self, caller: Caller | None) -> AbstractContextManager[None]:
        """Have what the block does go on where its caller leaves: in the task that is there, since one of its own would
        cost a keyed call a twentieth of its time."""
        task = asyncio.current_task()
        return nullcontext() if caller is None or task is None else _Held(self._tasks, task, caller)

    async def close(self) -> None:
        """Wait a second at most for what is under way, and cancel the rest."""
        end = time.monotonic() + _GRACE
        while self._tasks and (left := end - time.monotonic()) > 0:  # work may spawn more
            await asyncio.wait(self._tasks, timeout=left)
        late = list(self._tasks)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        retrieved(task)
