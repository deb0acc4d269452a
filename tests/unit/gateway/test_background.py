from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from oo.gateway import background as module
from oo.gateway.background import Background
from oo.gateway.capacity import Capacity


async def test_what_was_begun_is_completed_when_the_gateway_stops() -> None:
    background, ended = Background(), asyncio.Event()

    async def call() -> str:
        await asyncio.sleep(0.01)
        ended.set()
        return "done"

    capacity = Capacity(1)
    place = capacity.take("id")
    task = background.spawn(call(), place)
    place.release()
    assert capacity.calls == 1
    await background.close()
    assert ended.is_set()
    assert await task == "done"
    assert capacity.calls == 0


async def test_a_failure_reaches_whoever_waits_and_troubles_nobody_else(caplog: pytest.LogCaptureFixture) -> None:
    async def fails() -> None:
        raise ZeroDivisionError

    background = Background()
    with pytest.raises(ZeroDivisionError):
        await background.spawn(fails())
    background.spawn(fails())
    await background.close()
    assert caplog.text == ""


async def test_closing_waits_a_moment_and_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_GRACE", 0.01)
    background, cancelled = Background(), asyncio.Event()

    async def endless() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    waiting = background.spawn(endless())
    await asyncio.sleep(0)
    await background.close()
    assert cancelled.is_set()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_what_is_held_goes_on_in_its_callers_task() -> None:
    background, caller = Background(), SimpleNamespace(is_held=False, has_left=False)

    with background.held(caller):
        assert (caller.is_held, background._tasks) == (True, {asyncio.current_task()})
    assert (caller.is_held, background._tasks) == (False, set())
    with background.held(None):
        assert background._tasks == set()
    await background.close()


async def test_what_is_held_is_cancelled_when_the_gateway_has_waited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_GRACE", 0.01)
    background, caller = Background(), SimpleNamespace(is_held=False, has_left=True)

    async def endless() -> None:
        with background.held(caller):
            await asyncio.Event().wait()

    making = asyncio.create_task(endless())
    await asyncio.sleep(0)
    await background.close()
    assert (making.cancelled(), caller.is_held) == (True, False)
