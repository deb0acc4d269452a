"""A thousand callers of one cold key, in both worlds: one flight, whatever becomes of the caller that leads it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import oo
from oo._core.io import BlockingIO, LoopIO
from oo.testing import MockTransport
from oo.transports.aiohttp import AiohttpTransport
from oo.transports.requests import RequestsTransport
from tests.support.faults import BODY, READ, SECRET, SILENCE, answer, serving
from tests.support.waiting import PATIENCE, Watched
from tests.support.worlds import World

pytestmark = pytest.mark.campaign

TOKEN = "a-token-of-a-thousand"
URL = "http://localhost:3001"
CALLERS = 1000


@pytest.fixture(autouse=True)
def _small_stacks() -> Iterator[None]:
    before = threading.stack_size(256 << 10)
    yield
    threading.stack_size(before)


def crowd(world: World, url: str) -> tuple[Any, Watched]:
    """A client over its world's real transport, whose waiters are counted."""
    transport: Any = RequestsTransport() if world.blocking else AiohttpTransport()
    transport.io = watched = Watched(world.io())
    return world.client(url, timeout=PATIENCE, cache=oo.SecretCache(), transport=transport), watched


def gated(watched: list[Watched], reply: bytes) -> Callable[[bytes], bytes]:
    """A server's answer, held back until all the other callers wait for it."""

    def answered(_request: bytes) -> bytes:
        assert watched[0].until(CALLERS - 1)
        return reply

    return answered


@pytest.mark.parametrize("reply", [answer(BODY), answer(b"{}", status=b"500 No")], ids=["answer", "failure"])
def test_a_thousand_callers_of_a_cold_key_make_one_request_and_share_what_comes_of_it(
    world: World, reply: bytes
) -> None:
    watched: list[Watched] = []
    with serving(reply=gated(watched, reply)) as server:
        client, counting = crowd(world, server.url)
        watched.append(counting)
        results = world.together(*[lambda: client.client.get_secret(TOKEN, 60)] * CALLERS)
        assert (server.connections, len(server.requests)) == (1, 1)
    if b"200 OK" in reply:
        assert results == [SECRET] * CALLERS
    else:
        assert {(type(each), each.status, each.attempts) for each in results} == {(oo.SecretError, 500, 1)}
        assert len({id(each) for each in results}) == CALLERS


def test_a_thousand_callers_share_one_lost_connection(world: World) -> None:
    watched: list[Watched] = []

    def lost(_request: bytes) -> bytes:
        assert watched[0].until(CALLERS - 1)
        raise OSError

    with serving(reply=lost) as server:
        client, counting = crowd(world, server.url)
        watched.append(counting)
        results = world.together(*[lambda: client.client.get_secret(TOKEN, 60)] * CALLERS)
        assert (server.connections, len(server.requests)) == (1, 1)
    assert {(type(each), each.reason) for each in results} == {(oo.SecretError, "connection")}


@pytest.mark.parametrize("deadline", [None, PATIENCE])
@pytest.mark.parametrize("cancelled", ["waiters", "the leader", "all but the last"])
async def test_a_thousand_tasks_of_which_some_are_cancelled(cancelled: str, deadline: float | None) -> None:
    with serving([READ, SILENCE] if cancelled != "waiters" else []) as server:
        transport: Any = AiohttpTransport()
        transport.io = watched = Watched(LoopIO())
        gate = asyncio.Event()

        async def hold(request: oo.Request, call_next: oo.CallNext) -> oo.Response:
            response = await call_next(request)
            await gate.wait()
            return response

        chain = [oo.Cache(), hold, oo.ErrorMapping(), oo.BearerAuth()]
        async with oo.AsyncClient(
            server.url, PATIENCE, deadline=deadline, middleware=chain, transport=transport
        ) as client:
            tasks = [asyncio.create_task(client.get_secret(TOKEN, 60)) for _ in range(CALLERS)]
            assert await asyncio.to_thread(watched.until, CALLERS - 1)
            assert await asyncio.to_thread(server.until, requests=1)
            doomed = {"waiters": tasks[1::2], "the leader": tasks[:1], "all but the last": tasks[:-1]}[cancelled]
            for task in doomed:
                task.cancel()
            gate.set()
            results = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), PATIENCE)
        assert [type(each) is asyncio.CancelledError for each in results] == [task in set(doomed) for task in tasks]
        assert {each for each in results if isinstance(each, str)} == {SECRET}
        # A leader that goes takes its own request with it.
        assert len(server.requests) == (1 if cancelled == "waiters" else 2)


async def test_a_waiter_cancelled_in_the_turn_of_its_answer_is_cancelled() -> None:
    tasks: list[asyncio.Task[str]] = []
    gate = asyncio.Event()

    async def strike(request: oo.Request, call_next: oo.CallNext) -> oo.Response:
        response = await call_next(request)
        if asyncio.current_task() is tasks[0]:
            tasks[1].cancel()
        return response

    async def hold(request: oo.Request, call_next: oo.CallNext) -> oo.Response:
        await gate.wait()
        return await call_next(request)

    chain = [strike, oo.Cache(), hold]
    transport = MockTransport([{"value": "v"}])
    async with oo.AsyncClient(URL, deadline=PATIENCE, middleware=chain, transport=transport) as client:
        tasks += [asyncio.create_task(client.get_secret(TOKEN, 60)) for _ in range(2)]
        for _ in range(3):
            await asyncio.sleep(0)
        gate.set()
        assert await tasks[0] == "v"
        with pytest.raises(asyncio.CancelledError):
            await tasks[1]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_a_thousand_threads_whose_leader_is_struck_down(kind: type[BaseException]) -> None:
    watched = Watched(BlockingIO())
    blows = [kind()]

    def answered(_request: oo.Request) -> Any:
        assert watched.until(CALLERS - 1)
        if blows:
            raise blows.pop()
        return {"value": "v"}

    transport = MockTransport(answered, io=watched)
    world = World("blocking")
    client = world.client(URL, cache=oo.SecretCache(), transport=transport)
    results = world.together(*[lambda: client.client.get_secret(TOKEN, 60)] * CALLERS)
    assert sorted(map(repr, results)) == sorted([repr(kind()), *["'v'"] * (CALLERS - 1)])
    assert len(transport.requests) == 2


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_a_thousand_tasks_whose_leader_is_struck_down(kind: type[BaseException]) -> None:
    # Either goes through the loop and stops it; what waits is answered once somebody runs the loop again.
    loop = asyncio.new_event_loop()
    blows = [kind()]

    def answered(_request: oo.Request) -> Any:
        if blows:
            raise blows.pop()
        return {"value": "v"}

    async def turn(request: oo.Request, call_next: oo.CallNext) -> oo.Response:
        await call_next.io.sleep(0)
        return await call_next(request)

    transport = MockTransport(answered)
    client = oo.AsyncClient(URL, middleware=[oo.Cache(), turn], transport=transport)
    tasks = [loop.create_task(client.get_secret(TOKEN, 60)) for _ in range(CALLERS)]
    everybody = asyncio.gather(*tasks, return_exceptions=True)
    with pytest.raises(kind):
        loop.run_until_complete(everybody)
    results = loop.run_until_complete(asyncio.wait_for(everybody, PATIENCE))
    assert [type(results[0]), *results[1:]] == [kind, *["v"] * (CALLERS - 1)]
    assert len(transport.requests) == 2
    loop.close()
