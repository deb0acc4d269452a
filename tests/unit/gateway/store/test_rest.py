from __future__ import annotations

import asyncio

import pytest

from oo.gateway.errors import StoreError
from oo.gateway.store.rest import Rest


async def test_what_is_left_is_done_and_waited_for_and_a_failure_is_said(caplog: pytest.LogCaptureFixture) -> None:
    done: list[int] = []

    async def work(number: int) -> None:
        await asyncio.sleep(0.01)
        if number == 1:
            raise StoreError("the disk is full")
        done.append(number)

    rest = Rest()
    await rest.close()
    for number in range(3):
        rest.run(work(number))
    await rest.close()
    assert done == [0, 2]
    assert "was not done: the disk is full" in caplog.text
