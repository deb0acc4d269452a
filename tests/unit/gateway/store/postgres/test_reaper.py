from __future__ import annotations

import asyncio

import asyncpg
import pytest

from oo.gateway import kept
from oo.gateway.models import Route, StoredResponse
from oo.gateway.postgres import PostgresStore
from oo.gateway.store.postgres import reaper as rooms
from oo.gateway.store.postgres.connections import Connections
from oo.gateway.store.postgres.reaper import Reaper
from tests.support.postgres import say


@pytest.fixture
async def ids(store: PostgresStore) -> list[str]:
    """Two tokens with six calls each; five have an answer of 1,000 bytes, and the last is under way."""
    await store.put_route(Route("r", "http://127.0.0.1:9"))
    tokens = [await store.issue("route", "r") for _ in range(2)]
    for token in tokens:
        for n in range(6):
            fence = await store.claim(token, f"k{n}", 60)
            assert isinstance(fence, bytes)
            if n < 5:
                response = StoredResponse(200, (), bytes(1000))
                await store.complete(store.id_of(token), f"k{n}", fence, b"d", response)
    return [store.id_of(token) for token in tokens]


AGED = """
UPDATE oo.claims c SET at = clock_timestamp() - n * interval '1 hour'
FROM (SELECT token, call, row_number() OVER (PARTITION BY token ORDER BY done, at DESC) AS n FROM oo.claims) o
WHERE o.token = c.token AND o.call = c.call
"""


async def counts(place: str) -> tuple[int, int]:
    """How many calls are known, and how many have an answer."""
    connection = await asyncpg.connect(place)
    try:
        row = await connection.fetchrow("SELECT count(*), (SELECT count(*) FROM oo.pieces) FROM oo.claims")
    finally:
        await connection.close()
    return row[0], row[1]


@pytest.mark.parametrize(
    ("bound", "value", "left"),
    [
        ("KEPT", 3600 * 3.5, (2 * 3, 2 * 2)),  # k5 is held, k4 and k3 are young enough
        ("MAX_CALLS", 2, (2 * 3, 2 * 2)),
        ("MAX_OF_TOKEN", 5000, (12, 2 * 3)),
        ("MAX_OF_ALL", 5000, (12, 3)),
        ("KEPT", 3600 * 24, (12, 10)),
    ],
)
async def test_the_oldest_is_dropped_beyond_a_bound(
    ids: list[str],
    connections: Connections,
    place: str,
    monkeypatch: pytest.MonkeyPatch,
    bound: str,
    value: float,
    left: tuple[int, int],
) -> None:
    assert len(ids) == 2
    await say(place, AGED)
    monkeypatch.setattr(kept, bound, value)
    monkeypatch.setattr(rooms, "_OLD", rooms._OLD.replace("1000", "2"))
    monkeypatch.setattr(rooms, "_STEP", 2)
    for _ in range(4 if bound == "MAX_CALLS" else 1):
        await Reaper(connections).reap()
    assert await counts(place) == left


async def test_replicas_that_are_gone_are_forgotten(connections: Connections, place: str) -> None:
    await say(place, "INSERT INTO oo.replicas VALUES ('old', 1, now() - interval '2 minutes'), ('new', 1, now())")
    await Reaper(connections).reap()
    rows = await connections.run(lambda db: db.fetch("SELECT id FROM oo.replicas"))
    assert [row[0] for row in rows] == ["new"]


async def test_it_goes_on_after_a_failure_until_it_is_closed(
    connections: Connections, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rooms, "_PAUSE", 0.01)
    await say(place, "ALTER TABLE oo.replicas RENAME TO hidden")
    reaper = Reaper(connections)
    reaper.begin()
    reaper.begin()
    await asyncio.sleep(0.1)
    await say(place, "ALTER TABLE oo.hidden RENAME TO replicas")
    await say(place, "INSERT INTO oo.replicas VALUES ('old', 1, now() - interval '2 minutes')")
    while await connections.run(lambda db: db.fetchval("SELECT count(*) FROM oo.replicas")):
        await asyncio.sleep(0.02)
    await reaper.close()
    await Reaper(connections).close()
