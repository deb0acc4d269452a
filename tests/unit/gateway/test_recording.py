from __future__ import annotations

import asyncio
from typing import Any

import pytest

import oo
from oo._http.body import Body
from oo.gateway import recording
from oo.gateway.capacity import Capacity
from oo.gateway.claims import Claim
from oo.gateway.models import StoredResponse
from oo.gateway.recording import Recording
from oo.gateway.spool import Spool
from tests.support.stores import LenientStore
from tests.support.streams import pieces

WHOLE = StoredResponse(200, (), b"onetwo")


class Recorded:
    """A recording under way."""

    def __init__(
        self, *parts: bytes | Exception, length: int | None = None, seconds: float = 60, room: int = 1 << 20
    ) -> None:
        self.store = LenientStore()
        self.place = Capacity(1, room).take("id")
        self.source = Body(pieces(*parts), length=length)
        response = oo.Response(200, request=oo.Request("POST", "http://x/"), stream=self.source)
        claim = Claim(self.store, ("id", "k"), 7.0, 60, 0.0)
        made = Recording(response, self.source, claim, seconds, Spool(self.place))
        self.task = asyncio.create_task(made.run())
        body: Any = made.response.stream
        self.body: Body = body


@pytest.mark.parametrize("length", [None, 6])
async def test_what_is_read_is_kept(length: int | None) -> None:
    recorded = Recorded(b"one", b"two", length=length)
    body = recorded.body
    assert [(piece, body.remaining) async for piece in body] == [(b"one", length and 3), (b"two", length and 0)]
    assert recorded.store.settled == [WHOLE]


async def test_a_large_answer_is_never_one_piece() -> None:
    part = bytes(700_000)
    recorded = Recorded(part, part, part, room=4 << 20)
    assert [len(piece) async for piece in recorded.body] == [len(part)] * 3
    (kept,) = recorded.store.settled
    assert isinstance(kept, StoredResponse)
    assert isinstance(kept.body, Body)
    assert kept.body.length == 3 * len(part)
    sizes = [len(piece) async for piece in kept.body]
    assert (sum(sizes), max(sizes)) == (3 * len(part), len(part))


async def test_what_is_ended_before_its_reading_begins_is_not_kept_as_empty() -> None:
    recorded = Recorded(b"one", b"two")
    recorded.source.abort()
    assert [piece async for piece in recorded.body] == []
    assert recorded.store.settled == [None]


@pytest.mark.parametrize("begun", [True, False])
async def test_a_caller_that_leaves_finds_all_of_it(begun: bool) -> None:
    recorded = Recorded(b"one", b"two")
    if begun:
        assert await anext(aiter(recorded.body)) == b"one"
    recorded.body.abort()
    await asyncio.wait_for(recorded.task, 10)
    assert recorded.store.settled == [WHOLE]


async def test_a_stream_that_breaks_is_not_kept_and_breaks_for_its_reader() -> None:
    recorded = Recorded(b"one", oo.DoubleOError("broken"))
    with pytest.raises(oo.DoubleOError, match="broken"):
        [piece async for piece in recorded.body]
    assert recorded.store.settled == [None]


async def test_what_there_is_no_room_for_is_not_kept_and_its_caller_gets_it() -> None:
    recorded = Recorded(b"one", b"two", room=6)
    assert b"".join([piece async for piece in recorded.body]) == b"onetwo"
    assert (recorded.store.settled, recorded.place.size) == (["made"], 0)


@pytest.mark.parametrize("left", [True, False])
async def test_what_is_too_large_is_read_for_its_caller_alone(left: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "MAX_KEPT", 4)
    recorded = Recorded(b"one", b"two", b"three", b"four")
    if left:
        recorded.body.abort()
    else:
        assert b"".join([piece async for piece in recorded.body]) == b"onetwothreefour"
    await asyncio.wait_for(recorded.task, 10)
    # What was read whole was made, and is not made again.
    assert recorded.store.settled == [None if left else "made"]
    assert recorded.source.outcome == ("left" if left else "complete")


async def test_nothing_is_read_for_nobody_for_longer_than_the_timeout() -> None:
    recorded = Recorded(*[b"x"] * 10_000, seconds=0.0)
    recorded.body.abort()
    await asyncio.wait_for(recorded.task, 10)
    assert recorded.store.settled == [None]
    assert recorded.source.outcome == "left"
