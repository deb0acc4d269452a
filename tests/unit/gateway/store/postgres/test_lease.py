from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import asyncpg
import pytest

from oo.gateway.errors import StoreMoved, StoreUnavailable
from oo.gateway.store.postgres import lease as rooms
from oo.gateway.store.postgres.connections import Connections
from oo.gateway.store.postgres.epochs import Epochs
from oo.gateway.store.postgres.lease import LASTS, Lease
from oo.gateway.store.postgres.place import parse
from tests.support.postgres import say


class Replica:
    def __init__(self, place: str) -> None:
        self.connections = Connections(parse(place))
        self.looks = Connections(parse(place))
        self.epochs = Epochs(self.looks)
        self.losses: list[None] = []
        self.lease = Lease(self.connections, self.epochs, lambda: self.losses.append(None))

    async def close(self) -> None:
        await self.lease.close()
        await self.epochs.close()
        await self.connections.close()
        await self.looks.close()


@pytest.fixture
async def replicas(place: str) -> AsyncIterator[list[Replica]]:
    replicas = [Replica(place) for _ in range(3)]
    yield replicas
    for each in replicas:
        await each.close()


async def rows(place: str) -> list[int]:
    connection = await asyncpg.connect(place)
    try:
        return [row[0] for row in await connection.fetch("SELECT epoch FROM oo.replicas")]
    finally:
        await connection.close()


async def raised(place: str) -> None:
    await say(place, "UPDATE oo.epoch SET version = version + 1")


async def test_a_lease_begins_when_it_is_asked_for_and_is_given_back(place: str, replicas: list[Replica]) -> None:
    assert await rows(place) == []
    await asyncio.gather(*(each.lease.check() for each in replicas for _ in range(5)))
    assert await rows(place) == [1] * 3
    await replicas[0].lease.close()
    assert await rows(place) == [1] * 2
    with pytest.raises(StoreUnavailable):
        await replicas[0].lease.check()


async def test_a_change_is_acknowledged_once_all_have_seen_it(place: str, replicas: list[Replica]) -> None:
    for each in replicas[:2]:
        await each.lease.check()
    await raised(place)
    await asyncio.wait_for(replicas[2].lease.acknowledged(2), 10)
    assert await rows(place) == [2, 2]
    await replicas[0].lease.acknowledged(2)


async def test_who_does_not_renew_is_waited_for_as_long_as_it_may_answer(
    place: str, replicas: list[Replica], caplog: pytest.LogCaptureFixture
) -> None:
    mine, other, _ = replicas
    await mine.lease.check()
    await other.lease.check()
    assert mine.lease._renewing is not None
    mine.lease._renewing.cancel()  # as where its process is stopped
    await raised(place)
    began = time.monotonic()
    await asyncio.wait_for(other.lease.acknowledged(2), 10)
    assert time.monotonic() > mine.lease._until
    assert time.monotonic() - began > LASTS / 2
    with pytest.raises(StoreUnavailable, match="confirmed no write"):
        await mine.lease.check()
    assert caplog.text == ""


async def test_without_a_confirmed_write_nobody_is_answered(
    place: str, replicas: list[Replica], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    mine, *_ = replicas
    await mine.lease.check()
    with monkeypatch.context() as patch:
        patch.setattr(rooms, "_RENEW", "INSERT INTO oo.none VALUES ($1, $2)")  # reads go on, as on a split primary
        while time.monotonic() <= mine.lease._until:
            await asyncio.sleep(0.02)
        with pytest.raises(StoreUnavailable, match="confirmed no write"):
            await mine.lease.check()
        assert (await mine.epochs.current()).version == 1
    began = time.monotonic()
    while time.monotonic() > mine.lease._until:
        await asyncio.sleep(0.01)
        assert time.monotonic() - began < 10
    await mine.lease.check()
    assert "the lease of this replica is not renewed" in caplog.text
    assert mine.losses


async def test_a_store_that_has_moved_is_not_lost(
    place: str, replicas: list[Replica], caplog: pytest.LogCaptureFixture
) -> None:
    mine, *_ = replicas
    await mine.lease.check()
    await say(place, "INSERT INTO oo.meta VALUES ('moved', 'id /elsewhere')")
    await asyncio.sleep(LASTS + 0.5)
    with pytest.raises(StoreMoved, match="has moved to /elsewhere"):
        await mine.lease.check()
    assert caplog.text == ""
    # What is under way is answered, since it says so by itself.
    assert mine.losses == []


async def test_one_that_cannot_begin_says_so(place: str, replicas: list[Replica]) -> None:
    await say(place, "DROP TABLE oo.replicas")
    with pytest.raises(StoreUnavailable, match="confirmed no write"):
        await replicas[0].lease.check()
