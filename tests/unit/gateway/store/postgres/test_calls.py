from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from oo._http.body import Body
from oo.exceptions import DoubleOError
from oo.gateway.models import Route, StoredResponse, Token
from oo.gateway.postgres import PostgresStore
from oo.gateway.store.postgres.calls import Calls
from oo.gateway.store.postgres.connections import Connections
from tests.support.postgres import say

LARGE = StoredResponse(200, (), bytes(700_000))


@pytest.fixture
def calls(store: PostgresStore, connections: Connections) -> Calls:
    return Calls(connections, store._keys, store._learn, lambda: 86400.0 * 3)


async def issued(store: PostgresStore, uses: int | None = None) -> Token:
    await store.put_route(Route("r", "http://127.0.0.1:9"))
    identity = store.id_of(await store.issue("route", "r", uses=uses))
    (found,) = [each for each in await store.tokens() if each.id == identity]
    return found


async def claimed(calls: Calls, token: Token, call: bytes, seconds: float = 60) -> bytes:
    fence = await calls.claim(token, call, seconds)
    assert isinstance(fence, bytes)
    return fence


async def test_claims_of_one_batch_are_each_a_step(store: PostgresStore, calls: Calls) -> None:
    counted, free = await issued(store, 2), await issued(store)
    asked = [(token, b"k%d" % (n % 3)) for n in range(9) for token in (counted, free)]
    found = await asyncio.gather(*(calls.claim(*each, 60) for each in asked))
    of_counted, of_free = found[::2], found[1::2]
    assert sum(isinstance(each, bytes) for each in of_counted) == 2
    assert sum(isinstance(each, bytes) for each in of_free) == 3
    assert of_counted.count(counted.denied("used up")) == 3
    assert len({each for each in found if isinstance(each, bytes)}) == 5
    await calls.close()


async def test_a_claim_by_other_terms_is_none(store: PostgresStore, calls: Calls) -> None:
    for token in (await issued(store, 2), await issued(store)):
        await store.revoke(token.id)
        assert await calls.claim(token, b"k", 60) == "stale"
        assert await calls.claim(replace(token, revision=1), b"k", 60) != "stale"


async def test_batches_of_claims_and_uses_end_though_they_cross(store: PostgresStore, connections: Connections) -> None:
    from oo.gateway.store.postgres.uses import Uses

    tokens = [await issued(store, 1000) for _ in range(4)]
    rooms = [Calls(connections, store._keys, store._learn, lambda: 0.0) for _ in range(2)]
    uses = Uses(connections)
    found = await asyncio.gather(
        *(
            room.claim(token, b"k%d" % n, 60)
            for n in range(20)
            for room in rooms
            for token in tokens[:: 1 - 2 * (n % 2)]
        ),
        *(uses.consume(token) for _ in range(20) for token in tokens[::-1]),
    )
    assert sum(isinstance(each, bytes) for each in found) == 20 * 4
    assert [each.used for each in await store.tokens()] == [40] * 4


async def test_pieces_that_are_gone_or_changed_are_no_answer(store: PostgresStore, calls: Calls, place: str) -> None:
    token = await issued(store)
    for key in (b"large", b"small"):
        fence = await claimed(calls, token, key)
        await calls.complete(token.id, key, fence, b"d", LARGE if key == b"large" else StoredResponse(200, (), b"x"))
    found = await calls.result(token.id, b"large", b"d")
    assert isinstance(found, StoredResponse)
    assert isinstance(found.body, Body)
    await say(place, "DELETE FROM oo.pieces WHERE number = 2")
    with pytest.raises(DoubleOError, match="dropped meanwhile"):
        _ = [piece async for piece in found.body]
    await say(place, "UPDATE oo.pieces SET sealed = sealed || 'x'")
    assert [await calls.result(token.id, key, b"d") for key in (b"large", b"small")] == ["gone", "gone"]
    found = replace(found, body=b"")
    await say(place, "DELETE FROM oo.pieces")
    assert await calls.result(token.id, b"small", b"d") == "gone"


async def test_a_changed_piece_in_the_middle_breaks_the_answer_off(
    store: PostgresStore, calls: Calls, place: str
) -> None:
    token = await issued(store)
    fence = await claimed(calls, token, b"k")
    await calls.complete(token.id, b"k", fence, b"d", LARGE)
    found = await calls.result(token.id, b"k", b"d")
    assert isinstance(found, StoredResponse)
    assert isinstance(found.body, Body)
    await say(place, "UPDATE oo.pieces SET sealed = sealed || 'x' WHERE number = 1")
    with pytest.raises(DoubleOError, match="dropped meanwhile"):
        _ = [piece async for piece in found.body]


async def test_a_call_is_known_while_it_is_made_and_for_a_day(store: PostgresStore, calls: Calls, place: str) -> None:
    token = await issued(store)
    assert not await calls.is_known(token.id, b"k")
    await claimed(calls, token, b"k", 0.01)
    await asyncio.sleep(0.02)
    assert not await calls.is_known(token.id, b"k")
    fence = await claimed(calls, token, b"k")
    assert await calls.is_known(token.id, b"k")
    await calls.complete(token.id, b"k", fence, b"d", LARGE)
    await say(place, "UPDATE oo.claims SET at = at - interval '23 hours', until = at")
    assert await calls.is_known(token.id, b"k")
    await say(place, "UPDATE oo.claims SET at = at - interval '2 hours'")
    assert not await calls.is_known(token.id, b"k")
    again = await claimed(calls, token, b"k")
    await calls.complete(token.id, b"k", again, b"d", StoredResponse(200, (), b"again"))
    assert await calls.result(token.id, b"k", b"d") == StoredResponse(200, (), b"again")
