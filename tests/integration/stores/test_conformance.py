"""What every store does, seen by two who have it open."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from dataclasses import replace
from itertools import cycle
from typing import Any

import pytest

from oo.gateway import kept
from oo.gateway.errors import StoreError
from oo.gateway.models import Denial, Grant, Rate, Route, SecretRef, StoredResponse, Version
from oo.gateway.store.base import Keeper
from oo.testing import Streamed
from tests.support.waiting import PATIENCE

ROUTE = Route("api", "http://127.0.0.1:9", {"X-Key": "{a}"}, cors=("https://app.example",))
KEPT = StoredResponse(201, (("X-A", "1"), ("X-A", "2")), b"\xff body")
LARGE = StoredResponse(200, (("X-A", "1"),), bytes(range(256)) * 3000)


@pytest.fixture
async def filled(keeper: Keeper) -> Keeper:
    await keeper.put_secret("a", "value a")
    await keeper.put_route(ROUTE)
    return keeper


async def test_what_one_puts_the_other_reads_at_once(filled: Keeper, other: Keeper) -> None:
    for n in range(5):
        assert await filled.put_secret("a", f"value {n}") == n + 2
        assert await other.secret("a") == f"value {n}"
    await filled.put_environment("e", {"S": SecretRef("a"), "L": "literal"})
    assert await other.environment("e") == {"S": "value 4", "L": "literal"}
    await filled.put_secret("a", "new")
    assert await other.environment("e") == {"S": "new", "L": "literal"}
    assert await filled.rollback("a") == 6
    assert await other.environment("e") == {"S": "value 4", "L": "literal"}
    assert await other.rollback("a", 2) == 2
    assert await filled.secret("a") == "value 0"
    assert await other.variables("e") == {"S": SecretRef("a"), "L": "literal"}
    route = await other.route("api")
    assert route == ROUTE
    assert await other.route("api") is route
    assert await other.cors() == {"https://app.example"}
    await filled.put_route(replace(ROUTE, cors=()))
    assert (await other.route("api")) == replace(ROUTE, cors=())
    assert await other.cors() == frozenset()


async def test_what_is_not_there_is_none(keeper: Keeper, other: Keeper) -> None:
    assert [await other.secret("x"), await other.environment("x"), await other.route("x")] == [None] * 3
    assert (await other.variables("x"), await other.names("secret")) == (None, [])
    for refused in (
        keeper.rollback("x"),
        keeper.versions("x"),
        keeper.remove("env", "x"),
        keeper.revoke("x"),
        keeper.issue("secret", "x"),
        keeper.put_environment("e", {"S": SecretRef("x")}),
        keeper.put_route(ROUTE),
    ):
        with pytest.raises(StoreError, match="there is no"):
            await refused
    assert await other.names("env") == []


async def test_versions_and_names_are_in_order(filled: Keeper, other: Keeper) -> None:
    for name in ("b", "B", "a.1", "a-1", "c"):
        await filled.put_secret(name, "x")
    assert await other.names("secret") == ["B", "a", "a-1", "a.1", "b", "c"]
    await filled.put_secret("a", "two")
    await other.rollback("a", 1)
    found = await filled.versions("a")
    assert [(each.version, each.current) for each in found] == [(1, True), (2, False)]
    assert isinstance(found[0], Version)


async def test_a_thing_that_is_removed_takes_its_tokens_with_it(filled: Keeper, other: Keeper) -> None:
    token = await filled.issue("route", "api")
    assert isinstance(await other.opens(token, "route"), Grant)
    with pytest.raises(StoreError, match="is needed by the route 'api'"):
        await filled.remove("secret", "a")
    await filled.remove("route", "api")
    for store in (filled, other):
        found = await store.opens(token, "route")
        assert isinstance(found, Denial)
        assert found.why == "revoked"
    await other.remove("secret", "a")
    assert await filled.names("secret") == []


async def test_a_token_opens_its_thing_as_its_terms_say(filled: Keeper, other: Keeper) -> None:
    token = await filled.issue("secret", "a", label="mine", concurrency=3)
    identity = other.id_of(token)
    assert await other.authorize(token, "secret") == Grant(identity, "secret", "a", "mine", False, 3)
    assert await other.consume(token, "secret") == await filled.opens(token, "secret")
    assert await other.authorize(token, "route") == Denial("wrong kind", identity, opens="secret", label="mine")
    assert await other.authorize("oo_x", "secret") == Denial("malformed")
    assert await other.authorize(token[:-7] + "x" + token[-6:], "secret") == Denial("malformed")
    expired = await filled.issue("secret", "a", ttl=-1)
    assert await other.authorize(expired, "secret") == Denial("expired", other.id_of(expired))
    assert [each.id for each in await other.tokens()] == [identity, other.id_of(expired)]
    assert [each.label for each in await filled.remove_tokens(lambda each: each.label == "mine")] == ["mine"]
    assert await other.authorize(token, "secret") == Denial("unknown")


async def test_uses_are_counted_once_however_many_ask(filled: Keeper, other: Keeper) -> None:
    tokens = [await filled.issue("secret", "a", uses=uses) for uses in (1, 7, 30)]
    asked = [store.consume(token, "secret") for _ in range(25) for token in tokens for store in (filled, other)]
    found = await asyncio.gather(*asked)
    assert sum(isinstance(each, Grant) for each in found) == 1 + 7 + 30
    for token in tokens:
        assert await other.consume(token, "secret") == Denial("used up", other.id_of(token), target="a")
        assert await other.authorize(token, "secret") == Denial("used up", other.id_of(token), target="a")
    assert sorted(each.used for each in await other.tokens()) == [1, 7, 30]
    terms = await filled.terms(tokens[1])
    assert isinstance(terms, tuple)
    assert terms[0].used == 7


async def test_a_rate_is_one_for_all(filled: Keeper, other: Keeper) -> None:
    token = await filled.issue("secret", "a", rate=Rate(10, 3600.0))
    found = await asyncio.gather(*(store.authorize(token, "secret") for _ in range(15) for store in (filled, other)))
    denials = [each for each in found if isinstance(each, Denial)]
    assert (len(found) - len(denials), {each.why for each in denials}) == (10, {"rate"})
    assert all(each.retry_after is not None and 0 < each.retry_after <= 360 for each in denials)
    assert [each.used for each in await other.tokens()] == [10]
    # A limit of uses counts by itself.
    both = await filled.issue("secret", "a", rate=Rate(2, 3600.0), uses=5)
    assert isinstance(await other.authorize(both, "secret"), Grant)
    assert isinstance(await filled.consume(both, "secret"), Grant)
    terms = await other.terms(both)
    assert isinstance(terms, tuple)
    assert (terms[0].used, abs(terms[1] - time.time() - 1800) < 60) == (1, True)


async def test_a_rate_gives_back_what_time_brings(filled: Keeper, other: Keeper) -> None:
    token = await filled.issue("secret", "a", rate=Rate(2, 0.5))
    began, granted = time.monotonic(), 0
    for store in cycle((filled, other)):
        granted += isinstance(await store.authorize(token, "secret"), Grant)
        if granted == 5:
            break
        assert time.monotonic() - began < 60
    # Two at once, and each other a quarter of a second later, however busy the machine is.
    assert time.monotonic() - began > 0.7


async def test_no_use_is_counted_on_what_was_revoked(filled: Keeper, other: Keeper) -> None:
    token = await filled.issue("secret", "a", uses=1_000_000)
    identity, revoked = filled.id_of(token), asyncio.Event()
    late: list[object] = []

    async def spend(store: Keeper) -> None:
        while True:
            begun_after = revoked.is_set()
            found = await store.consume(token, "secret")
            if begun_after:
                late.append(found)
                return

    spending = [asyncio.create_task(spend(store)) for store in (filled, other) for _ in range(4)]
    while not any(each.used for each in await filled.tokens()):
        await asyncio.sleep(0.01)
    await other.revoke(identity)
    (used,) = [each.used for each in await filled.tokens() if each.id == identity]
    revoked.set()
    await asyncio.gather(*spending)
    assert late == [Denial("revoked", identity)] * 8
    assert [each.used for each in await filled.tokens() if each.id == identity] == [used]
    assert used > 0


async def caller(store: Keeper, uses: int | None = None) -> tuple[str, str]:
    token = await store.issue("route", "api", uses=uses)
    return token, store.id_of(token)


async def test_a_claim_is_one_callers_and_its_use_one_step(filled: Keeper, other: Keeper) -> None:
    token, identity = await caller(filled, 2)
    found = await asyncio.gather(*(store.claim(token, "k", 60) for _ in range(10) for store in (filled, other)))
    (fence,) = [each for each in found if isinstance(each, bytes)]
    assert [each for each in found if each != fence] == ["taken"] * 19
    assert [each.used for each in await other.tokens()] == [1]
    assert await other.result(identity, "k", b"digest") == "taken"
    assert isinstance(await other.claim(token, "second", 60), bytes)
    assert await filled.claim(token, "third", 60) == Denial("used up", identity, target="api")
    assert await filled.result(identity, "third", b"digest") is None
    assert await other.authorize(token, "route", key="third") == Denial("used up", identity, target="api")
    assert isinstance(await other.authorize(token, "route", key="k"), Grant)
    assert isinstance(await filled.claim(await filled.issue("secret", "a"), "k", 60), Denial)


async def test_an_answer_that_flows_is_kept_as_one(filled: Keeper, other: Keeper) -> None:
    token, identity = await caller(filled)
    fence = await filled.claim(token, "k", 60)
    assert isinstance(fence, bytes)
    flowing = StoredResponse(200, KEPT.headers, Streamed([b"one, ", b"two"]))
    await filled.complete(identity, "k", fence, b"digest", flowing)
    assert await other.result(identity, "k", b"digest") == StoredResponse(200, KEPT.headers, b"one, two")


@pytest.mark.parametrize("response", [KEPT, LARGE, None])
async def test_an_answer_is_kept_for_its_call(filled: Keeper, other: Keeper, response: StoredResponse | None) -> None:
    token, identity = await caller(filled)
    fence = await filled.claim(token, "k", 60)
    assert isinstance(fence, bytes)
    await filled.complete(identity, "k", fence, b"digest", response)
    assert await other.result(identity, "k", b"another") == "other"
    found = await other.result(identity, "k", b"digest")
    if response is None:
        assert found == "gone"
    else:
        assert isinstance(found, StoredResponse)
        body = found.body if isinstance(found.body, bytes) else b"".join([piece async for piece in found.body])
        assert replace(found, body=body) == response
    assert await other.claim(token, "k", 60) == "taken"
    assert not await other.renew(identity, "k", fence, 60)
    await other.release(identity, "k", fence)
    assert await filled.claim(token, "k", 60) == "taken"


async def test_a_claim_that_lapsed_is_the_next_ones(filled: Keeper, other: Keeper) -> None:
    token, identity = await caller(filled)
    lost = await filled.claim(token, "k", 0.05)
    assert isinstance(lost, bytes)
    await asyncio.sleep(0.06)
    assert await filled.result(identity, "k", b"digest") is None
    fence = await other.claim(token, "k", 60)
    assert isinstance(fence, bytes)
    assert fence != lost
    assert not await filled.renew(identity, "k", lost, 60)
    await filled.complete(identity, "k", lost, b"late", KEPT)
    await filled.release(identity, "k", lost)
    assert await filled.result(identity, "k", b"digest") == "taken"
    await other.complete(identity, "k", fence, b"digest", KEPT)
    assert not await filled.renew(identity, "k", lost, 60)
    assert await filled.result(identity, "k", b"digest") == KEPT


async def test_a_claim_is_held_by_renewing_and_given_back(filled: Keeper, other: Keeper) -> None:
    token, identity = await caller(filled)
    fence = await filled.claim(token, "k", 0.05)
    assert isinstance(fence, bytes)
    assert await filled.renew(identity, "k", fence, 60)
    assert await filled.renew(identity, "k", fence, -1)  # no renewal makes it shorter
    await asyncio.sleep(0.06)
    assert await other.claim(token, "k", 60) == "taken"
    await filled.release(identity, "k", b"another")
    assert await other.claim(token, "k", 60) == "taken"
    await filled.release(identity, "k", fence)
    assert isinstance(await other.claim(token, "k", 60), bytes)


async def test_what_is_too_large_is_not_kept_and_the_call_is_made_all_the_same(
    filled: Keeper, other: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "MAX_OF_TOKEN", 1000)
    token, identity = await caller(filled)
    fence = await filled.claim(token, "k", 60)
    assert isinstance(fence, bytes)
    with pytest.raises(StoreError, match="no room"):
        await filled.complete(identity, "k", fence, b"digest", LARGE)
    assert await other.result(identity, "k", b"digest") == "gone"


async def test_many_who_change_at_once_lose_nothing(filled: Keeper, other: Keeper) -> None:
    async def put(store: Keeper, name: str) -> None:
        for n in range(5):
            await store.put_secret("shared", f"{name} {n}")
            await store.put_secret(name, str(n))

    await asyncio.gather(*(put(store, f"n{n}") for n, store in enumerate((filled, other, filled))))
    assert len(await other.versions("shared")) == 15
    assert [await filled.secret(f"n{n}") for n in range(3)] == ["4"] * 3


async def test_whoever_is_cancelled_leaves_it_done(filled: Keeper, other: Keeper) -> None:
    token = await filled.issue("secret", "a", uses=100)
    asking = [asyncio.create_task(filled.consume(token, "secret")) for _ in range(20)]
    await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
    for task in asking:
        task.cancel()
    await asyncio.gather(*asking, return_exceptions=True)
    # Whatever was granted was counted.
    granted = sum(not task.cancelled() for task in asking)
    (used,) = [each.used for each in await other.tokens()]
    assert granted <= used <= 20


async def test_what_is_claimed_for_who_has_left_is_released(opened: Any) -> None:
    store, other = await opened(), await opened()
    await store.put_secret("a", "value a")
    await store.put_route(ROUTE)
    token, identity = await caller(store)
    for turns in range(12):
        asking = await left_after(turns, store.claim(token, f"k{turns}", 60))
        if isinstance(asking, bytes):
            await store.release(identity, f"k{turns}", asking)  # it was sooner
        end = time.monotonic() + PATIENCE
        while not isinstance(await other.claim(token, f"k{turns}", 60), bytes):
            assert time.monotonic() < end
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("response", [KEPT, LARGE])
async def test_what_is_completed_for_who_has_left_is_kept(opened: Any, response: StoredResponse) -> None:
    store, other = await opened(), await opened()
    await store.put_secret("a", "value a")
    await store.put_route(ROUTE)
    token, identity = await caller(store)
    for turns in range(1, 12):
        fence = await store.claim(token, f"k{turns}", 60)
        assert isinstance(fence, bytes)
        await left_after(turns, store.complete(identity, f"k{turns}", fence, b"digest", response))
        end = time.monotonic() + PATIENCE
        while not isinstance(found := await other.result(identity, f"k{turns}", b"digest"), StoredResponse):
            assert time.monotonic() < end
            await asyncio.sleep(0.005)
        assert found.status == response.status


async def left_after(turns: int, asking: Coroutine[Any, Any, Any]) -> object:
    """What is asked by somebody who leaves after so many turns of the loop; None if it had no answer by then."""
    task = asyncio.create_task(asking)
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    (found,) = await asyncio.gather(task, return_exceptions=True)
    assert not isinstance(found, Exception)
    return None if isinstance(found, BaseException) else found
