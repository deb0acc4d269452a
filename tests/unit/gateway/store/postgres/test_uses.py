from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oo.gateway import spending
from oo.gateway.models import Denial, Rate, Token
from oo.gateway.postgres import PostgresStore
from oo.gateway.store.postgres import uses as rooms
from oo.gateway.store.postgres.connections import Connections
from oo.gateway.store.postgres.uses import Counted, Uses
from tests.support.postgres import run, say

BOUNDARY = 1e-5  # seconds: sums of many steps are rounded otherwise than a product


async def issued(store: PostgresStore, uses: int | None = None, rate: Rate | None = None) -> Token:
    await store.put_secret("a", "x")
    identity = store.id_of(await store.issue("secret", "a", uses=uses, rate=rate))
    (found,) = [each for each in await store.tokens() if each.id == identity]
    return found


async def test_those_who_ask_at_once_share_what_is_left(store: PostgresStore, connections: Connections) -> None:
    uses, tokens = Uses(connections), [await issued(store, count) for count in (1, 3, 5)]
    asked = [token for _ in range(4) for token in tokens]
    found = await asyncio.gather(*(uses.consume(token) for token in asked))
    granted = [sum(each is None for each, of in zip(found, asked, strict=True) if of is token) for token in tokens]
    assert granted == [1, 3, 4]
    assert found[asked.index(tokens[0]) + 3] == Denial("used up", tokens[0].id, target="a")
    assert await asyncio.gather(*(uses.counted(token) for token in tokens)) == [Counted(n, 0.0) for n in (1, 3, 4)]
    await uses.close()


@pytest.mark.parametrize("what", ["consume", "charge"])
async def test_what_was_judged_by_other_terms_is_not_counted(
    store: PostgresStore, connections: Connections, what: str
) -> None:
    uses, token = Uses(connections), await issued(store, 5, Rate(5, 60.0))
    newer = replace(token, revision=1)
    ask = getattr(uses, what)
    assert await asyncio.gather(ask(token), ask(newer)) == [None, "stale"]
    await store.revoke(token.id)
    assert await ask(token) == "stale"
    assert await asyncio.gather(ask(newer), ask(token)) == [None, "stale"]
    await store.remove_tokens(lambda _: True)
    assert await ask(newer) == "stale"
    assert await uses.counted(token) is None


async def test_batches_of_many_lock_in_one_order(store: PostgresStore, connections: Connections) -> None:
    tokens = [await issued(store, 1000) for _ in range(6)]
    both = [Uses(connections), Uses(connections)]

    async def spend(uses: Uses, order: int) -> None:
        for _ in range(15):
            await asyncio.gather(*(uses.consume(token) for token in tokens[::order]))

    await asyncio.gather(spend(both[0], 1), spend(both[1], -1))
    assert {await both[0].counted(token) for token in tokens} == {Counted(30, 0.0)}


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    count=st.integers(1, 20),
    seconds=st.floats(1.0, 1e5),
    wanted=st.integers(1, 30),
    ahead=st.one_of(st.just(-10.0), st.floats(0.003, 3.0)),
)
def test_a_rate_is_charged_as_spending_has_it(
    postgres: str, count: int, seconds: float, wanted: int, ahead: float
) -> None:
    """The statement's formula against the function's. `ahead` is how far away the burst was, in periods."""
    table = "CREATE SCHEMA IF NOT EXISTS oo; DROP TABLE IF EXISTS oo.uses;"
    table += "CREATE TABLE oo.uses (hash bytea, revision bigint, used bigint, tat float8)"
    now = time.time()
    tat = now + ahead * seconds

    async def charge() -> None:
        await say(postgres, table)
        connection = await asyncpg.connect(postgres)
        try:
            await connection.execute("INSERT INTO oo.uses VALUES ('x', 0, 0, $1)", tat)
            charge = rooms._CHARGE.replace("clock_timestamp()", f"to_timestamp({now!r})")
            arrays = ([b"x"], [0], [seconds / count], [seconds], [wanted], [True], spending.ROUNDING)
            (row,) = await connection.fetch(charge, *arrays)
            kept = await connection.fetchrow("SELECT used, tat FROM oo.uses")
        finally:
            await connection.close()
        token = Token("id", "secret", "a", "", 0.0, None, None, Rate(count, seconds), None, "")
        granted, at = 0, tat
        for _ in range(wanted):
            found = spending.charge(token, at, now)
            if isinstance(found, Denial):
                if (found.retry_after or 0) < BOUNDARY:  # one call more or less, as rounding has it
                    assert row[2] - granted in (0, 1)
                    return
                assert found.retry_after == pytest.approx(row[3], abs=BOUNDARY)
                break
            granted, at = granted + 1, found
        if row[2] != granted:
            assert granted - row[2] == 1
            assert row[3] < BOUNDARY
            return
        assert (kept[0], kept[1]) == (granted, pytest.approx(at if granted else tat, abs=BOUNDARY))

    run(charge())
