from __future__ import annotations

import asyncio
import time

import pytest

from oo.gateway.errors import StoreUnavailable
from oo.gateway.store.base import came
from oo.gateway.store.postgres import epochs as rooms
from oo.gateway.store.postgres.connections import Connections
from oo.gateway.store.postgres.epochs import Epoch, Epochs
from tests.support.postgres import say


async def test_a_look_is_shared_and_began_after_whoever_waits_came(
    connections: Connections, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rooms, "_FRESH", 0.0)
    epochs = Epochs(connections)
    came = time.monotonic()
    looks = await asyncio.gather(*(epochs.current() for _ in range(50)))
    assert {look.version for look in looks} == {1}
    assert min(look.began for look in looks) >= came
    assert len({look.began for look in looks}) == 1
    for n in range(2, 5):
        await say(place, "UPDATE oo.epoch SET version = version + 1")
        assert (await epochs.current()).version == n
    await epochs.close()


async def test_what_a_request_looked_at_holds_for_the_rest_of_it(
    connections: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rooms, "_FRESH", 0.0)
    monkeypatch.setattr(rooms, "_OF_REQUEST", 60.0)
    epochs = Epochs(connections)
    before = await epochs.current()

    async def request() -> Epoch:
        came.set(time.monotonic())
        first = await epochs.current()
        assert await epochs.current() is first
        return first

    looks = [before, await asyncio.create_task(request()), await asyncio.create_task(request())]
    assert sorted({look.began for look in looks}) == [look.began for look in looks]
    assert await epochs.current() is not looks[-1]  # which is for no request
    came.set(time.monotonic())
    held = await epochs.current()
    epochs.expire()
    assert await epochs.current() is not held
    monkeypatch.setattr(rooms, "_OF_REQUEST", 0.0)  # what a request has left behind is as strict as anything
    assert await epochs.current() is not await epochs.current()
    await epochs.close()


async def test_a_look_is_as_good_for_a_millisecond_unless_something_changed(
    connections: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rooms, "_FRESH", 60.0)
    epochs = Epochs(connections)
    first = await epochs.current()
    assert await epochs.current() is first
    epochs.expire()
    second = await epochs.current()
    assert second.began > first.began
    assert await epochs.current() is second


async def test_the_time_is_the_engines(connections: Connections, monkeypatch: pytest.MonkeyPatch) -> None:
    epochs = Epochs(connections)
    await epochs.current()
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: 0.0)  # whatever this machine's clock says
        now = epochs.now()
    assert abs(now - time.time()) < 2
    assert isinstance(await epochs.current(), Epoch)


@pytest.mark.parametrize(
    ("look", "said"), [("SELECT 1, true, 1.0", "has become a standby"), ("SELECT 1 WHERE false", "says no epoch")]
)
async def test_a_standby_says_no_epoch(
    connections: Connections, monkeypatch: pytest.MonkeyPatch, look: str, said: str
) -> None:
    monkeypatch.setattr(rooms, "_LOOK", look)
    with pytest.raises(StoreUnavailable, match=said):
        await Epochs(connections).current()
