from __future__ import annotations

import asyncio
from functools import partial, wraps
from typing import Any

import pytest

import oo
from oo.testing import MockTransport
from tests.support.worlds import World

TOKEN = "a-token-for-chains"
URL = "http://localhost:3001"


def chain(world: World, *middleware: Any, answers: Any = None) -> tuple[Any, MockTransport]:
    transport = MockTransport(answers or (lambda _request: {"value": "v"}))
    return world.client(URL, middleware=list(middleware), transport=transport), transport


def noting(name: str, notes: list[str]) -> Any:
    async def note(request: oo.Request, call_next: oo.CallNext) -> oo.Response:
        notes.append(f"{name} down")
        response = await call_next(request)
        notes.append(f"{name} up")
        return response

    return note


def test_a_call_travels_down_once_and_its_answer_up_once(world: World) -> None:
    notes: list[str] = []
    client, transport = chain(world, noting("a", notes), noting("b", notes))
    assert client.get_secret(TOKEN) == "v"
    assert notes == ["a down", "b down", "b up", "a up"]
    assert len(transport.requests) == 1


def test_an_object_with_an_async_call_is_a_middleware_and_may_stand_in_several_chains(world: World) -> None:
    class Count:
        calls = 0

        async def __call__(self, request: oo.Request, call_next: oo.CallNext) -> oo.Response:
            self.calls += 1
            return await call_next(request)

    count = Count()
    for _ in range(2):
        chain(world, count, count)[0].get_secret(TOKEN)
    assert count.calls == 4


def test_a_middleware_may_answer_by_itself(world: World) -> None:
    async def answer(request: oo.Request, call_next: oo.CallNext) -> oo.Response:
        return oo.Response(200, body=b'{"value": "mine"}', request=request)

    client, transport = chain(world, answer)
    assert client.get_secret(TOKEN) == "mine"
    assert transport.requests == []


def test_a_middleware_may_call_on_again(world: World) -> None:
    async def twice(request: oo.Request, call_next: oo.CallNext) -> oo.Response:
        await call_next(request)
        return await call_next(request)

    client, transport = chain(world, twice, answers=[{"value": "1"}, {"value": "2"}])
    assert client.get_secret(TOKEN) == "2"


def test_a_middleware_may_replace_request_and_response_and_changes_neither(world: World) -> None:
    seen: list[oo.Request] = []

    async def stamp(request: oo.Request, call_next: oo.CallNext) -> oo.Response:
        response = await call_next(request.with_header("X-Team", "blue").replace(method="PUT"))
        seen.append(request)
        return response.replace(body=b'{"value": "other"}')

    client, transport = chain(world, stamp)
    assert client.get_secret(TOKEN) == "other"
    assert (transport.requests[0].method, transport.requests[0].headers["x-team"]) == ("PUT", "blue")
    assert (seen[0].method, "X-Team" in seen[0].headers) == ("GET", False)


def test_what_a_middleware_raises_reaches_the_caller_whole(world: World) -> None:
    async def fail(request: oo.Request, call_next: oo.CallNext) -> oo.Response:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        chain(world, *oo.default_middleware(retries=2), fail)[0].get_secret(TOKEN)


def test_a_chain_without_error_mapping_still_raises_the_operations_error(world: World) -> None:
    broken = oo.DoubleOError("gone", reason="connection", retryable=True)
    client, _ = chain(world, answers=[broken, 500])
    for reason in ("connection", "status"):
        with pytest.raises(oo.SecretError) as caught:
            client.get_secret(TOKEN)
        assert caught.value.reason == reason


async def by_other_names(first: oo.Request, rest: oo.CallNext, more: int = 0) -> oo.Response:
    return await rest(first)


async def by_place_alone(request: oo.Request, call_next: oo.CallNext, /) -> oo.Response:
    return await call_next(request)


async def by_whatever(*args: Any) -> oo.Response:
    return await args[1](args[0])  # type: ignore[no-any-return]  # a CallNext gives it


@wraps(by_place_alone)
async def wrapped(asked: oo.Request, rest: oo.CallNext) -> oo.Response:
    return await by_place_alone(asked, rest)


class ByOtherNames:
    async def __call__(self, call_next: oo.Request, request: oo.CallNext) -> oo.Response:
        return await request(call_next)

    async def method(self, asked: oo.Request, rest: oo.CallNext) -> oo.Response:
        return await rest(asked)


SHAPES = [by_other_names, by_place_alone, by_whatever, wrapped, ByOtherNames(), ByOtherNames().method]
SHAPES += [partial(by_other_names, more=1)]


@pytest.mark.parametrize("shape", SHAPES, ids=range(len(SHAPES)))
def test_a_middleware_may_take_its_two_arguments_as_it_likes(world: World, shape: Any) -> None:
    client, transport = chain(world, shape, shape)
    assert client.get_secret(TOKEN) == "v"
    assert len(transport.requests) == 1


def test_what_calls_on_shows_the_layer_and_nothing_that_is_bound_to_it(world: World) -> None:
    shown: list[str] = []

    class Secretive:
        async def __call__(self, request: oo.Request, call_next: oo.CallNext) -> oo.Response:
            shown.append(repr(call_next))
            return await call_next(request)

        def __repr__(self) -> str:
            return TOKEN

    chain(world, Secretive(), Secretive())[0].get_secret(TOKEN)
    assert "Secretive" in shown[0]
    assert "send" in shown[1] or "Gate" in shown[1]
    assert TOKEN not in "".join(shown)


async def sleeps_on_the_loop(request: oo.Request, call_next: oo.CallNext) -> oo.Response:
    await asyncio.sleep(0.001)
    return await call_next(request)


async def yields_to_the_loop(request: oo.Request, call_next: oo.CallNext) -> oo.Response:
    await asyncio.sleep(0)
    return await call_next(request)


async def waits_in_a_helper(request: oo.Request, call_next: oo.CallNext) -> oo.Response:
    async def helper() -> None:
        await asyncio.Event().wait()

    await helper()
    return await call_next(request)


class SleepsInAnObject:
    async def __call__(self, request: oo.Request, call_next: oo.CallNext) -> oo.Response:
        await asyncio.sleep(0)
        return await call_next(request)


FOREIGN = [sleeps_on_the_loop, yields_to_the_loop, waits_in_a_helper, SleepsInAnObject()]


@pytest.mark.parametrize("foreign", FOREIGN, ids=lambda each: getattr(each, "__name__", "object"))
@pytest.mark.parametrize("in_a_loop", [False, True])
def test_awaiting_something_foreign_under_the_blocking_client_names_the_middleware(
    foreign: Any, in_a_loop: bool
) -> None:
    notes: list[str] = []
    transport = MockTransport(lambda _request: {"value": "v"})
    client = oo.Client(URL, middleware=[noting("outer", notes), foreign, *oo.default_middleware()], transport=transport)

    async def within() -> str:
        return client.get_secret(TOKEN)

    with pytest.raises(RuntimeError) as caught:
        asyncio.run(within()) if in_a_loop else client.get_secret(TOKEN)
    name = getattr(foreign, "__name__", type(foreign).__name__)
    assert name in str(caught.value)
    assert "outer" not in str(caught.value)
    assert "call_next.io.sleep" in str(caught.value)


@pytest.mark.parametrize("foreign", [sleeps_on_the_loop, yields_to_the_loop])
async def test_the_same_middleware_runs_under_asyncio(foreign: Any) -> None:
    transport = MockTransport(lambda _request: {"value": "v"})
    async with oo.AsyncClient(URL, middleware=[foreign], transport=transport) as client:
        assert await client.get_secret(TOKEN) == "v"


def plain(request: oo.Request, call_next: oo.CallNext) -> Any:
    return call_next(request)


async def one_argument(request: oo.Request) -> Any:
    return request


@pytest.mark.parametrize(
    ("bad", "hint"),
    [
        (plain, "async def"),
        (one_argument, "two arguments"),
        (SleepsInAnObject, "class"),
        (lambda r, c: c(r), "async def"),
        (3, "async def"),
    ],
)
def test_what_is_no_middleware_is_refused_when_the_client_is_made(world: World, bad: Any, hint: str) -> None:
    with pytest.raises(TypeError, match=hint):
        chain(world, bad)


def test_a_chain_that_returns_nothing_says_so(world: World) -> None:
    async def forgets(request: oo.Request, call_next: oo.CallNext) -> Any:
        await call_next(request)

    with pytest.raises(TypeError, match="forgets"):
        chain(world, forgets)[0].get_secret(TOKEN)


def test_a_middleware_waits_with_io(world: World) -> None:
    clock = world.clock()

    async def slow(request: oo.Request, call_next: oo.CallNext) -> oo.Response:
        await call_next.io.sleep(100)
        event = call_next.io.event()
        event.set()
        assert await event.wait()
        return await call_next(request)

    transport = MockTransport([{"value": "v"}], io=clock)
    assert world.client(URL, middleware=[slow], transport=transport).get_secret(TOKEN) == "v"
    assert clock.sleeps == [100]


def test_recall_asks_only_the_outermost_layers(world: World) -> None:
    notes: list[str] = []
    transport = MockTransport(lambda _request: {"value": "v"})
    middleware = oo.default_middleware(cache=oo.SecretCache())
    inside = world.client(
        URL, middleware=[middleware[0], noting("inside", notes), *middleware[1:]], transport=transport
    )
    for _ in range(3):
        assert inside.get_secret(TOKEN, cache_ttl=60) == "v"
    assert notes == ["inside down", "inside up"]
    outside = world.client(URL, middleware=[noting("outside", notes), *middleware], transport=transport)
    for _ in range(3):
        assert outside.get_secret(TOKEN, cache_ttl=60) == "v"
    assert notes.count("outside up") == 3
    assert len(transport.requests) == 1
