from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from oo.gateway.errors import StoreError, StoreUnavailable
from oo.gateway.store.batches import Batches


class Doubling:
    """Doubles numbers, when it may; `batches` are those that were asked."""

    def __init__(self, error: Exception | None = None) -> None:
        self.batches: list[list[int]] = []
        self.go = asyncio.Event()
        self.error = error

    async def __call__(self, asked: Sequence[int]) -> list[int]:
        self.batches.append(list(asked))
        await self.go.wait()
        if self.error is not None:
            raise self.error
        return [2 * number for number in asked]


async def test_what_is_asked_meanwhile_is_the_next_batch() -> None:
    doubling = Doubling()
    batches = Batches(doubling, most=2)
    asked = [asyncio.create_task(batches.ask(1))]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    asked += [asyncio.create_task(batches.ask(number)) for number in (2, 3, 4)]
    await asyncio.sleep(0)
    assert doubling.batches == [[1]]
    doubling.go.set()
    assert await asyncio.gather(*asked) == [2, 4, 6, 8]
    assert doubling.batches == [[1], [2, 3], [4]]
    assert await batches.ask(5) == 10


async def test_what_was_asked_is_done_though_whoever_asked_left() -> None:
    doubling = Doubling()
    batches = Batches(doubling)
    asked = [asyncio.create_task(batches.ask(number)) for number in (1, 2)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    asked[0].cancel()
    closing = asyncio.create_task(batches.close())
    await asyncio.sleep(0)
    assert not closing.done()
    doubling.go.set()
    assert await asked[1] == 4
    await closing
    assert (doubling.batches, asked[0].cancelled()) == ([[1, 2]], True)
    await batches.close()


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (StoreUnavailable("gone", unsure=True), StoreUnavailable, "gone"),
        (StoreError("refused"), StoreError, "refused"),
        (ValueError("canary"), RuntimeError, "ValueError"),
    ],
)
async def test_each_has_an_error_of_its_own(error: Exception, kind: type[Exception], said: str) -> None:
    doubling = Doubling(error)
    batches = Batches(doubling)
    asked = [asyncio.create_task(batches.ask(number)) for number in range(3)]
    await asyncio.sleep(0)
    asked[2].cancel()
    doubling.go.set()
    first, second, _ = await asyncio.gather(*asked, return_exceptions=True)
    assert first is not second
    assert {(type(each), str(each)) for each in (first, second)} == {(kind, said)}
    assert getattr(first, "unsure", None) is (True if kind is StoreUnavailable else None)
    doubling.error = None
    assert await batches.ask(1) == 2
