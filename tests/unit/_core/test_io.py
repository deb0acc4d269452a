"""The two ways to wait: each keeps time, and lets go whoever waits for an event."""

from __future__ import annotations

import asyncio
import gc
import ssl
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from oo._core.io import BlockingIO, LoopIO, retrieved, unwritten
from oo._core.pipeline import run_sync
from tests.support.certificates import self_signed
from tests.support.faults import SILENCE, serving
from tests.support.waiting import PATIENCE
from tests.support.worlds import World


def drive(world: World, coroutine: Coroutine[Any, Any, Any]) -> Any:
    return run_sync(coroutine) if world.blocking else coroutine


def waited(world: World, coroutine: Coroutine[Any, Any, Any]) -> Any:
    return world.run(lambda: drive(world, coroutine))


def test_time_passes_at_least_as_long_as_a_sleep(world: World) -> None:
    io = world.io()
    began = io.now()
    waited(world, io.sleep(0.05))
    assert io.now() - began >= 0.04


def test_an_event_that_is_set_keeps_nobody(world: World) -> None:
    event = world.io().event()
    event.set()
    event.set()
    assert waited(world, event.wait()) is True
    assert waited(world, event.wait(0.0)) is True


def test_an_event_that_nobody_sets_is_given_up_on(world: World) -> None:
    io = world.io()
    event, began = io.event(), io.now()
    assert waited(world, event.wait(0.05)) is False
    assert io.now() - began >= 0.04


def test_setting_an_event_lets_every_waiter_go(world: World) -> None:
    event = world.io().event()

    async def set_it() -> str:
        event.set()
        return "set"

    waits = [lambda: drive(world, event.wait(PATIENCE))] * 3
    assert world.together(*waits, lambda: drive(world, set_it())) == [True, True, True, "set"]


def test_the_threads_of_a_process_share_a_scope() -> None:
    with ThreadPoolExecutor() as pool:
        assert pool.submit(BlockingIO().scope).result(PATIENCE) == BlockingIO().scope()


def test_the_tasks_of_one_loop_share_a_scope_and_loops_do_not() -> None:
    async def scopes() -> list[Any]:
        async def scope() -> Any:
            return LoopIO().scope()

        return await asyncio.gather(scope(), scope())

    (first, same), (other, _) = asyncio.run(scopes()), asyncio.run(scopes())
    assert first == same != other


async def test_a_cancelled_waiter_takes_nobody_with_it() -> None:
    event = LoopIO().event()
    first, second = asyncio.ensure_future(event.wait(PATIENCE)), asyncio.ensure_future(event.wait(PATIENCE))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    event.set()
    assert await second is True
    assert first.cancelled()


async def test_a_cancellation_in_the_turn_of_the_event_is_not_lost() -> None:
    event = LoopIO().event()
    waiter = asyncio.ensure_future(event.wait(PATIENCE))
    await asyncio.sleep(0)
    event.set()
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter


async def test_what_is_unwritten_is_told_while_tls_loses_its_socket_as_well(tmp_path: Path) -> None:
    certificate = self_signed(tmp_path, "127.0.0.1")
    told: list[int] = []

    class Asking(asyncio.Protocol):
        transport: asyncio.Transport

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = transport  # type: ignore[assignment]  # of a connection

        def ask(self) -> None:
            told.append(unwritten(self.transport))

    with serving([SILENCE], tls=certificate.server) as server:
        loop, trusted = asyncio.get_running_loop(), ssl.create_default_context(cafile=certificate.file)
        host, _, port = server.address.partition(":")
        transport, protocol = await loop.create_connection(Asking, host, int(port), ssl=trusted)
        protocol.ask()
        transport.abort()
        for _ in range(5):
            protocol.ask()
            await asyncio.sleep(0)
    assert told == [0] * 6


@pytest.mark.parametrize("is_told", [True, False])
async def test_an_error_for_which_nobody_waits_is_not_logged(is_told: bool) -> None:
    async def fails() -> None:
        raise ZeroDivisionError

    logged: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: logged.append(context["message"]))
    tasks = [asyncio.ensure_future(fails()), asyncio.ensure_future(asyncio.sleep(9))]
    for task in tasks:
        if is_told:
            task.add_done_callback(retrieved)
    tasks[1].cancel()
    await asyncio.wait(tasks)
    del task
    tasks.clear()
    gc.collect()
    assert len(logged) == (0 if is_told else 1)
