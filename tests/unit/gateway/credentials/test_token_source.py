from __future__ import annotations

import asyncio

import pytest

import oo
from oo.gateway.credentials.token_source import (
    LIFE,
    FetchedToken,
    TokenSource,
    answer_of,
    life_of,
    token_of,
    token_request,
)
from tests.support.credential_tools import Tools

REQUEST = oo.Request("GET", "http://x/")


class Fetching:
    """Fetches `t1`, `t2`, ..., which live 100 s; or raises what `failing` holds."""

    def __init__(self) -> None:
        self.count = 0
        self.failing: list[BaseException] = []
        self.go = asyncio.Event()
        self.go.set()

    async def __call__(self) -> FetchedToken:
        await self.go.wait()
        if self.failing:
            raise self.failing.pop(0)
        self.count += 1
        return FetchedToken(f"t{self.count}", 100.0)


async def test_it_is_fetched_anew_at_four_fifths_of_its_life(tools: Tools) -> None:
    source, fetch, got = TokenSource(), Fetching(), []
    for seconds in (0, 79, 0.9, 0.2, 79, 1.1):
        tools.io.advance(seconds)
        got.append(await source.get("key", fetch, REQUEST, tools))
    assert got == ["t1", "t1", "t1", "t2", "t2", "t3"]


async def test_each_key_has_its_own(tools: Tools) -> None:
    source, fetch = TokenSource(), Fetching()
    assert [await source.get(key, fetch, REQUEST, tools) for key in ("a", "b", "a")] == ["t1", "t2", "t1"]
    source.keep("c", FetchedToken("kept", 10.0))
    assert await source.get("c", fetch, REQUEST, tools) == "kept"


async def test_a_hundred_calls_wait_for_one(tools: Tools) -> None:
    source, fetch = TokenSource(), Fetching()
    fetch.go.clear()
    calls = [asyncio.create_task(source.get("key", fetch, REQUEST, tools)) for _ in range(100)]
    await asyncio.sleep(0)
    fetch.go.set()
    assert set(await asyncio.gather(*calls)) == {"t1"}
    assert fetch.count == 1


async def test_an_error_is_each_waiters_own_and_not_kept(tools: Tools) -> None:
    source, fetch = TokenSource(), Fetching()
    fetch.failing.append(oo.DoubleOError("no", reason="status"))
    fetch.go.clear()
    calls = [asyncio.create_task(source.get("key", fetch, REQUEST, tools)) for _ in range(3)]
    await asyncio.sleep(0)
    fetch.go.set()
    errors = await asyncio.gather(*calls, return_exceptions=True)
    assert [str(error) for error in errors] == ["no"] * 3
    assert len(set(map(id, errors))) == 3
    assert await source.get("key", fetch, REQUEST, tools) == "t1"


@pytest.mark.parametrize("failure", ["cancelled", "deadline", "bug"])
async def test_whoever_waits_fetches_where_the_first_gave_up(failure: str, tools: Tools) -> None:
    source, fetch = TokenSource(), Fetching()
    if failure != "cancelled":
        fetch.failing.append(oo.DoubleOError("", reason="deadline") if failure == "deadline" else KeyError("bug"))
    fetch.go.clear()
    first, second = [asyncio.create_task(source.get("key", fetch, REQUEST, tools)) for _ in range(2)]
    await asyncio.sleep(0)
    if failure == "cancelled":
        first.cancel()
    fetch.go.set()
    assert await second == "t1"
    assert fetch.count == 1  # it went on where its caller was cancelled
    assert isinstance((await asyncio.gather(first, return_exceptions=True))[0], BaseException)


async def test_a_waiter_waits_no_longer_than_its_deadline(tools: Tools) -> None:
    source, fetch = TokenSource(), Fetching()
    fetch.go.clear()
    first = asyncio.create_task(source.get("key", fetch, REQUEST, tools))
    await asyncio.sleep(0)
    with pytest.raises(oo.DoubleOError) as caught:
        await source.get("key", fetch, REQUEST.replace(deadline=tools.io.now() + 0.01), tools)
    assert caught.value.reason == "deadline"
    fetch.go.set()
    assert await first == "t1"


async def test_in_an_outage_the_old_one_serves_to_the_end_of_its_life(tools: Tools) -> None:
    source, fetch = TokenSource(), Fetching()
    await source.get("key", fetch, REQUEST, tools)
    outage = oo.DoubleOError("gone", reason="connection", retryable=True)
    tools.io.advance(90)
    fetch.failing += [outage, oo.DoubleOError("bad client", reason="status"), outage]
    assert await source.get("key", fetch, REQUEST, tools) == "t1"
    with pytest.raises(oo.DoubleOError, match="bad client"):
        await source.get("key", fetch, REQUEST, tools)
    tools.io.advance(11)
    with pytest.raises(oo.DoubleOError, match="gone"):
        await source.get("key", fetch, REQUEST, tools)


async def test_a_refused_one_is_fetched_anew_once(tools: Tools) -> None:
    source, fetch = TokenSource(), Fetching()
    first = await source.get("key", fetch, REQUEST, tools)
    assert [source.refused("key", first, tools.io.now()) for _ in range(3)] == [True] * 3  # three calls had that one
    second = await source.get("key", fetch, REQUEST, tools)
    assert (second, source.refused("key", first, tools.io.now())) == ("t2", True)  # a late one, which gets t2 as well
    # An upstream that refuses every token does not have one fetched for every call.
    assert source.refused("key", second, tools.io.now()) is False
    assert await source.get("key", fetch, REQUEST, tools) == "t2"
    tools.io.advance(10)
    assert source.refused("key", second, tools.io.now()) is True
    assert await source.get("key", fetch, REQUEST, tools) == "t3"


async def test_what_was_refused_when_is_not_kept_without_end(tools: Tools) -> None:
    source, fetch = TokenSource(), Fetching()
    for key in range(200):
        assert source.refused(key, await source.get(key, fetch, REQUEST, tools), tools.io.now())
    assert len(source._refused) <= 64


@pytest.mark.parametrize(
    ("said", "life"),
    [(3600, 3600), ("3600", 3600), (0, 0), (-5, 0), (1e400, 1e9), (None, LIFE), ("x", LIFE), ("nan", LIFE), ([], LIFE)],
)
def test_a_life_is_whatever_number_was_said(said: object, life: float) -> None:
    assert life_of(said) == life


def response(status: int, body: bytes) -> oo.Response:
    return oo.Response(status, body=body, request=REQUEST)


@pytest.mark.parametrize(
    "body", [b"", b"canary", b"[]", b"{}", b'{"access_token": 1}', b'{"access_token": "canary\\n"}']
)
def test_an_answer_without_a_token_is_not_quoted(body: bytes) -> None:
    with pytest.raises(oo.DoubleOError, match="answered without a token that can be sent") as caught:
        token_of(response(200, body), "the server")
    assert "canary" not in str(caught.value)
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    ("status", "body", "message", "retryable"),
    [
        (400, b'{"error": "invalid_grant"}', "the server answered with status 400 and invalid_grant", False),
        (401, b'{"error": "canary"}', "the server answered with status 401", False),
        (401, b'{"error": ["canary"]}', "the server answered with status 401", False),
        (429, b"", "the server answered with status 429", True),
        (503, b"canary", "the server answered with status 503", True),
        (302, b'{"access_token": "canary"}', "the server answered with status 302", False),
    ],
)
def test_a_refusal_says_its_status_and_a_word_that_is_known(
    status: int, body: bytes, message: str, retryable: bool
) -> None:
    with pytest.raises(oo.DoubleOError) as caught:
        token_of(response(status, body), "the server")
    assert (str(caught.value), caught.value.retryable) == (message, retryable)


def test_an_object_is_told_from_another_thing() -> None:
    assert answer_of(response(200, b'{"a": 1}')) == {"a": 1}
    assert answer_of(response(200, b"[1]")) == answer_of(response(200, b"x")) == {}


def test_a_request_for_a_token_has_the_time_that_its_call_has_left() -> None:
    call = REQUEST.replace(timeout=600.0, deadline=7.0)
    asked = token_request(call, "POST", "https://h/t?canary")
    assert (asked.timeout, asked.deadline, asked.base_url) == (30.0, 7.0, "https://h/t")
    assert asked.context is not call.context


def test_a_token_is_in_no_repr() -> None:
    assert "canary" not in repr(FetchedToken("canary", 1.0))
