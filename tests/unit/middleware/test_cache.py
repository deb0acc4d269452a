from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import oo
from oo.testing import MockTransport, VirtualClock
from tests.support.waiting import PATIENCE, Watched
from tests.support.worlds import World

TOKEN = "a-token-for-caches"
URL = "http://localhost:3001"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def cached(world: World, answers: Any = None, clock: Clock | None = None, **settings: Any) -> Any:
    transport = MockTransport(answers or (lambda _request: {"value": "v"}))
    store = oo.SecretCache(timer=clock or time.monotonic)
    middleware = [oo.Cache(store, **settings), oo.ErrorMapping()]
    return world.client(URL, middleware=middleware, transport=transport), transport


def numbered() -> Any:
    count = iter(range(1000))
    return lambda _request: {"value": str(next(count))}


def test_only_a_call_with_a_ttl_is_cached(world: World) -> None:
    client, _ = cached(world, numbered())
    assert [client.get_secret(TOKEN), client.get_secret(TOKEN)] == ["0", "1"]
    assert [client.get_secret(TOKEN, 60), client.get_secret(TOKEN, cache_ttl=60)] == ["2", "2"]
    assert [client.get_secret(TOKEN, 0), client.get_secret(TOKEN)] == ["3", "4"]


def test_a_hit_is_younger_than_the_ttl_of_both_calls(world: World) -> None:
    clock = Clock()
    client, _ = cached(world, numbered(), clock)
    assert client.get_secret(TOKEN, 10) == "0"
    clock.now = 5
    assert client.get_secret(TOKEN, 100) == "0"
    assert client.get_secret(TOKEN, 5) == "1"
    clock.now = 9.9
    assert client.get_secret(TOKEN, 100) == "1"
    clock.now = 10
    assert client.get_secret(TOKEN, 100) == "2"


def test_operations_servers_and_tokens_never_share_an_answer(world: World) -> None:
    transport = MockTransport(lambda request: {"value": request.url, "secrets": {"A": request.url}})
    chain = oo.default_middleware(cache=oo.SecretCache())
    one, two = (world.client(url, middleware=chain, transport=transport) for url in (URL, URL + "1"))
    calls = [(one, TOKEN), (one, TOKEN + "2"), (two, TOKEN)]
    assert [client.get_secret(token, 60) for client, token in calls * 2] == [
        f"{c.base_url}/api/secret" for c, _ in calls * 2
    ]
    assert [client.get_env(token, 60)["A"] for client, token in calls * 2] == [
        f"{c.base_url}/api/env" for c, _ in calls * 2
    ]
    assert len(transport.requests) == 6


def test_what_a_caller_gets_is_its_own(world: World) -> None:
    client, _ = cached(world, lambda _request: {"secrets": {"A": "1"}})
    for _ in range(3):
        env = client.get_env(TOKEN, 60)
        assert env == {"A": "1"}
        env["B"] = "2"


@pytest.mark.parametrize("answer", [500, 404, b"junk", {"error": "x"}, {"value": 3}])
def test_only_successes_are_stored(world: World, answer: Any) -> None:
    client, transport = cached(world, lambda _request: answer)
    for _ in range(2):
        with pytest.raises(oo.SecretError):
            client.get_secret(TOKEN, 60)
    assert len(transport.requests) == 2


def held(world: World, waiters: int) -> tuple[oo.Middleware, Watched]:
    """What holds a call until so many others wait for it, and the IO that counts those."""
    watched = Watched(world.io())

    async def hold(request: oo.Request, call_next: oo.CallNext) -> oo.Response:
        late = watched.now() + PATIENCE
        while watched.waiting < waiters:
            assert watched.now() < late
            await watched.sleep(0.001)
        return await call_next(request)

    return hold, watched


def slow(make: Callable[..., Any], answer: Any, seconds: float = 0.1) -> Any:
    async def wait(request: oo.Request, call_next: oo.CallNext) -> oo.Response:
        await call_next.io.sleep(seconds)
        return await call_next(request)

    transport = MockTransport(lambda _request: answer)
    chain = [oo.Cache(), wait, oo.ErrorMapping()]
    return make(URL, middleware=chain, transport=transport), transport


def test_any_number_of_callers_make_one_request(world: World) -> None:
    client, transport = slow(world.client, {"value": "v"})
    results = world.together(*[lambda: client.client.get_secret(TOKEN, 60)] * 200)
    assert results == ["v"] * 200
    assert len(transport.requests) == 1


def test_any_number_of_callers_share_one_failure_each_with_an_error_of_its_own(world: World) -> None:
    # A failure is not stored: who comes after it makes a request of their own.
    hold, watched = held(world, 49)
    transport = MockTransport(lambda _request: 500, io=watched)
    client = world.client(URL, middleware=[oo.Cache(), hold, oo.ErrorMapping()], transport=transport)
    results = world.together(*[lambda: client.client.get_secret(TOKEN, 60)] * 50)
    assert {type(result) for result in results} == {oo.SecretError}
    assert len({id(result) for result in results}) == 50
    assert len(transport.requests) == 1


class Odd(Exception):
    """One that cannot be copied."""

    def __init__(self, *, what: str) -> None:
        super().__init__(what)


@pytest.mark.parametrize(
    ("make", "kind"),
    [(lambda: oo.SecretError("late", reason="deadline"), oo.SecretError), (lambda: Odd(what="x"), Odd)],
    ids=["deadline", "foreign"],
)
def test_callers_of_one_client_share_what_came_of_its_own_fetch(
    world: World, make: Callable[[], Exception], kind: type[Exception]
) -> None:
    hold, watched = held(world, 4)
    fetches: list[oo.Request] = []

    async def fail(request: oo.Request, _: oo.CallNext) -> oo.Response:
        fetches.append(request)
        raise make()

    chain = [oo.Cache(), hold, fail]
    client = world.client(URL, middleware=chain, transport=MockTransport([], io=watched))
    results = world.together(*[lambda: client.client.get_secret(TOKEN, 60)] * 5)
    assert {type(result) for result in results} == {kind}
    assert len(fetches) == 1


def test_clients_over_one_store_share_a_failure_as_well(world: World) -> None:
    hold, watched = held(world, 4)
    store, transport = oo.SecretCache(), MockTransport(lambda _request: 500, io=watched)
    clients = [
        world.client(URL, middleware=[oo.Cache(store), hold, oo.ErrorMapping()], transport=transport) for _ in range(5)
    ]
    results = world.together(*[lambda client=client: client.client.get_secret(TOKEN, 60) for client in clients])
    assert {type(result) for result in results} == {oo.SecretError}
    assert len(transport.requests) == 1


def test_event_loops_over_one_store_do_not_wait_for_each_other() -> None:
    store, both = oo.SecretCache(), threading.Barrier(2)
    transport = MockTransport(lambda _request: {"value": "v"})

    async def meet(request: oo.Request, call_next: oo.CallNext) -> oo.Response:
        await asyncio.to_thread(both.wait, 5)
        return await call_next(request)

    async def call() -> str:
        async with oo.AsyncClient(URL, middleware=[oo.Cache(store), meet], transport=transport) as client:
            return await client.get_secret(TOKEN, 60)

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(asyncio.run, [call(), call()])) == ["v", "v"]
    assert len(transport.requests) == 2


async def test_a_cancelled_waiter_disturbs_nobody_and_a_cancelled_leader_hands_over() -> None:
    client, transport = slow(oo.AsyncClient, {"value": "v"}, 0.05)
    leader, *waiters = [asyncio.create_task(client.get_secret(TOKEN, 60)) for _ in range(5)]
    await asyncio.sleep(0.01)
    waiters[0].cancel()
    leader.cancel()
    results = await asyncio.gather(leader, *waiters, return_exceptions=True)
    assert [type(result) for result in results[:2]] == [asyncio.CancelledError] * 2
    assert results[2:] == ["v"] * 3
    # The leader was cancelled before it had sent anything.
    assert len(transport.requests) == 1


def test_a_leader_that_is_interrupted_hands_over() -> None:
    failures = [KeyboardInterrupt()]
    go = threading.Event()

    async def interrupt(request: oo.Request, call_next: oo.CallNext) -> oo.Response:
        if failures:
            error = failures.pop()
            go.wait(PATIENCE)
            raise error
        return await call_next(request)

    transport = MockTransport(lambda _request: {"value": "v"})
    client = oo.Client(URL, middleware=[oo.Cache(), interrupt], transport=transport)
    results: list[Any] = []

    def call() -> None:
        try:
            results.append(client.get_secret(TOKEN, 60))
        except BaseException as error:
            results.append(type(error))

    threads = [threading.Thread(target=call, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(0.05)
    go.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert sorted(map(str, results)) == [str(KeyboardInterrupt), "v", "v", "v"]
    assert len(transport.requests) == 1


def test_an_answer_fetched_before_an_invalidation_is_not_stored_after_it(world: World) -> None:
    store = oo.SecretCache()
    during: list[Any] = [lambda: store.invalidate(TOKEN), store.clear, lambda: store.invalidate("another-token")]

    async def meanwhile(request: oo.Request, call_next: oo.CallNext) -> oo.Response:
        response = await call_next(request)
        during.pop(0)()
        return response

    transport = MockTransport(numbered())
    client = world.client(URL, middleware=[oo.Cache(store), meanwhile], transport=transport)
    assert [client.get_secret(TOKEN, 60) for _ in range(4)] == ["0", "1", "2", "2"]


def test_invalidate_cache_forgets_a_token_or_everything(world: World) -> None:
    client, _ = cached(world, numbered())
    first = [client.get_secret(token, 60) for token in ("token-1", "token-2")]
    client.invalidate_cache("token-1")
    assert [client.get_secret(token, 60) for token in ("token-1", "token-2")] == ["2", first[1]]
    client.invalidate_cache()
    assert [client.get_secret(token, 60) for token in ("token-1", "token-2")] == ["3", "4"]


def test_default_stacks_share_one_store_across_the_worlds() -> None:
    transport = MockTransport(numbered())
    with oo.Client(URL, transport=transport) as client:
        assert client.get_secret(TOKEN, 60) == "0"

    async def other() -> str:
        async with oo.AsyncClient(URL, transport=transport) as client:
            return await client.get_secret(TOKEN, 60)

    assert asyncio.run(other()) == "0"
    oo.invalidate_cache(TOKEN)
    assert asyncio.run(other()) == "1"


def test_an_expired_answer_serves_through_an_outage_and_is_marked(world: World) -> None:
    clock, notes = Clock(), []

    async def note(request: oo.Request, call_next: oo.CallNext) -> oo.Response:
        response = await call_next(request)
        notes.append(response.context.cache)
        return response

    lost = oo.DoubleOError("gone", reason="connection")
    transport = MockTransport([{"value": "v"}, lost, 500, 503])
    cache = oo.Cache(oo.SecretCache(timer=clock), stale_if_error=100)
    client = world.client(URL, middleware=[note, cache, oo.ErrorMapping()], transport=transport)
    assert client.get_secret(TOKEN, 10) == "v"
    clock.now = 50
    assert [client.get_secret(TOKEN, 10) for _ in range(2)] == ["v", "v"]
    assert notes == ["miss", "stale", "stale"]
    clock.now = 111
    with pytest.raises(oo.SecretError):
        client.get_secret(TOKEN, 10)


def test_callers_share_an_expired_answer_too(world: World) -> None:
    clock = Clock()
    hold, watched = held(world, 4)
    transport = MockTransport([{"value": "v"}, 503], io=watched)
    cache = oo.Cache(oo.SecretCache(timer=clock), stale_if_error=100)
    first = world.client(URL, middleware=[cache, oo.ErrorMapping()], transport=transport)
    client = world.client(URL, middleware=[cache, hold, oo.ErrorMapping()], transport=transport)
    assert first.get_secret(TOKEN, 10) == "v"
    clock.now = 50
    assert world.together(*[lambda: client.client.get_secret(TOKEN, 10)] * 5) == ["v"] * 5
    assert len(transport.requests) == 2


@pytest.mark.parametrize("status", [400, 429, 499])
def test_what_is_no_outage_is_not_hidden_by_an_expired_answer(world: World, status: int) -> None:
    clock = Clock()
    client, _ = cached(world, [{"value": "v"}, status, 503], clock, stale_if_error=100)
    assert client.get_secret(TOKEN, 10) == "v"
    clock.now = 50
    with pytest.raises(oo.SecretError):
        client.get_secret(TOKEN, 10)
    assert client.get_secret(TOKEN, 10) == "v"  # and it is still there for one


@pytest.mark.parametrize("status", [401, 403, 404])
@pytest.mark.parametrize("ttl", [None, 5])
def test_a_refusal_evicts_always(world: World, status: int, ttl: float | None) -> None:
    clock = Clock()
    client, _ = cached(world, [{"value": "v"}, status, 503], clock, stale_if_error=100)
    assert client.get_secret(TOKEN, 60) == "v"
    clock.now = 10
    for each in (ttl, 5):
        with pytest.raises(oo.DoubleOError):
            client.get_secret(TOKEN, each)


def test_a_waiter_keeps_to_its_own_deadline(world: World) -> None:
    begun, over, cache = threading.Event(), threading.Event(), oo.Cache()

    async def came(event: threading.Event) -> None:
        assert event.wait(PATIENCE) if world.blocking else await asyncio.to_thread(event.wait, PATIENCE)

    async def hold(request: oo.Request, call_next: oo.CallNext) -> oo.Response:
        begun.set()
        await came(over)
        return await call_next(request)

    chain = [cache, hold, oo.ErrorMapping()]
    client = world.client(URL, middleware=chain, transport=MockTransport([{"value": "v"}]))
    hurried = world.client(URL, middleware=[cache, oo.ErrorMapping()], transport=MockTransport([]), deadline=0.05)

    def later() -> Any:
        if world.blocking:
            try:
                assert begun.wait(PATIENCE)
                return hurried.client.get_secret(TOKEN, 60)
            finally:
                over.set()

        async def call() -> str:
            try:
                await came(begun)
                return str(await hurried.client.get_secret(TOKEN, 60))
            finally:
                over.set()

        return call()

    first, second = world.together(lambda: client.client.get_secret(TOKEN, 60), later)
    assert first == "v"
    assert isinstance(second, oo.SecretError)
    assert second.reason == "deadline"


def test_the_store_is_bounded_and_the_least_recently_used_goes_first() -> None:
    clock = Clock()
    store = oo.SecretCache(3, timer=clock)
    for key in "abc":
        store.set(key, key, 100)
        clock.now += 2
    assert store.get("a") == "a"
    store.set("d", "d", 100)
    assert [store.get(key) for key in "abcd"] == ["a", None, "c", "d"]
    assert len(store) == 3
    single = oo.SecretCache(1)
    for key in "ab":
        single.set(key, key, 100)
    assert [single.get(key) for key in "ab"] == [None, "b"]


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("set"), st.sampled_from("abcd"), st.integers(1, 5)),
            st.tuples(st.just("get"), st.sampled_from("abcd"), st.integers(1, 5)),
            st.tuples(st.just("invalidate"), st.sampled_from("abcd"), st.just(0)),
            st.tuples(st.just("clear"), st.just(""), st.just(0)),
            st.tuples(st.just("wait"), st.just(""), st.integers(1, 4)),
        )
    )
)
def test_the_store_against_a_model(steps: list[tuple[str, str, int]]) -> None:
    clock, model = Clock(), {}
    store = oo.SecretCache(10, timer=clock)
    for number, (step, key, seconds) in enumerate(steps):
        if step == "set":
            store.set(key, number, seconds)
            model[key] = (number, clock.now, seconds)
        elif step == "get":
            value, at, ttl = model.get(key, (None, 0.0, 0))
            age = clock.now - at
            assert store.lookup(key, seconds) == (value if age < min(ttl, seconds) else None)
        elif step == "invalidate":
            store.invalidate(key)
            model.pop(key, None)
        elif step == "clear":
            store.clear()
            model.clear()
        else:
            clock.now += seconds


def test_a_virtual_clock_is_an_io() -> None:
    clock = VirtualClock()
    clock.advance(3)
    assert clock.now() == 3


def test_an_answer_says_whether_it_was_stored_and_whose_it_is(world: World) -> None:
    seen: list[tuple[Any, ...]] = []

    async def watch(request: oo.Request, call_next: oo.CallNext) -> oo.Response:
        response = await call_next(request)
        notes = response.context
        seen.append((notes.cache, notes.attempts, notes is request.context, response.request is request))
        return response

    chain = [watch, *oo.default_middleware(cache=oo.SecretCache())]
    transport = MockTransport(lambda _request: {"value": "v"})
    client = world.client(URL, middleware=chain, transport=transport)
    for _ in range(2):
        client.get_secret(TOKEN, 60)
    # A miss comes back with the request as it was sent, the token in its header.
    assert seen == [("miss", 1, True, False), ("hit", 0, True, True)]
