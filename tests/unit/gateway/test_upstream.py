"""Masking in a gateway: the loop is not held meanwhile, and what comes tells nothing of a value."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from oo._core.masking import STEP, Mask
from oo.gateway.upstream import Masked, masked_body
from oo.testing import Streamed

TEXT = b"%41" * (10 * STEP // 3) + b" the-value-x"


async def turns_during(work: asyncio.Future[bytes]) -> int:
    """How many turns a task has that asks for one after another while `work` goes on."""
    turns = 0
    while not work.done():
        await asyncio.sleep(0)
        turns += 1
    return turns


async def streamed(stream: AsyncIterator[bytes]) -> bytes:
    return b"".join([piece async for piece in stream])


@pytest.mark.parametrize("size", [STEP, STEP // 4, len(TEXT)])
def test_others_have_a_turn_between_the_steps_of_a_stream(size: int) -> None:
    async def run() -> tuple[bytes, int]:
        # None of the pieces is waited for.
        stream = Streamed([TEXT[at : at + size] for at in range(0, len(TEXT), size)])
        work = asyncio.ensure_future(streamed(aiter(Masked(stream, Mask(["the-value-x"])))))
        turns = await turns_during(work)
        return await work, turns

    body, turns = asyncio.run(run())
    assert body == TEXT.replace(b"the-value-x", b"***")
    assert turns >= 10


def test_others_have_a_turn_between_the_steps_of_a_whole_body() -> None:
    async def run() -> tuple[bytes, int]:
        work = asyncio.ensure_future(masked_body(TEXT, Mask(["the-value-x"])))
        turns = await turns_during(work)
        return await work, turns

    body, turns = asyncio.run(run())
    assert body == TEXT.replace(b"the-value-x", b"***")
    assert turns >= 10
