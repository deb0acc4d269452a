"""What is asked at the same time goes to the engine as one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from ..errors import IntegrityError, StoreError, StoreUnavailable

Q = TypeVar("Q")
A = TypeVar("A")


class Batches(Generic[Q, A]):
    """Answers questions by `run`, at most `most` at a time. While one batch is under way the next one gathers. An
    answer is that of a batch which began after its question was asked."""

    def __init__(self, run: Callable[[Sequence[Q]], Awaitable[Sequence[A]]], most: int = 256) -> None:
        self._run = run
        self._most = most
        self._waiting: list[tuple[Q, asyncio.Future[A]]] = []
        self._running: asyncio.Task[None] | None = None

    async def ask(self, question: Q) -> A:
        """The answer to a question. What is asked is done where whoever waits is cancelled."""
        return await self.asked(question)

    def asked(self, question: Q) -> asyncio.Future[A]:
        """A question that is asked at once, whoever waits for its answer."""
        future: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, future))
        if self._running is None:
            self._running = asyncio.create_task(self._all())
        return future

    async def close(self) -> None:
        """Wait for what was asked."""
        while self._running is not None:
            await asyncio.wait([self._running])

    async def _all(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
                await self._one(batch)
        finally:
            self._running = None

    async def _one(self, batch: list[tuple[Q, asyncio.Future[A]]]) -> None:
        try:
            answers = await self._run([question for question, _ in batch])
        except Exception as error:
            for _, future in batch:
                if not future.done():
                    future.set_exception(copy_of(error))
            return
        for (_, future), answer in zip(batch, answers, strict=True):
            if not future.done():  # whoever asked was cancelled
                future.set_result(answer)


def copy_of(error: Exception) -> Exception:
    """An error of one's own, since each raises it in a task of its own."""
    if isinstance(error, StoreUnavailable):
        return type(error)(str(error), unsure=error.unsure)
    if isinstance(error, IntegrityError):
        return type(error)(str(error))
    return StoreError(str(error)) if isinstance(error, StoreError) else RuntimeError(type(error).__name__)
