from __future__ import annotations

import asyncio
import os
import stat
import tempfile
from collections.abc import AsyncIterator
from typing import Any

import pytest

from oo._http.body import Body, read_whole
from oo.gateway import spool as module
from oo.gateway.capacity import Busy, Capacity
from oo.gateway.errors import GatewayError
from oo.gateway.spool import Spool, kept, spooled

PIECE = b"0123456789abcdef" * 4096  # 64 KiB
LARGE = 40  # pieces: more than is kept in memory


@pytest.fixture
def capacity() -> Capacity:
    return Capacity(8, 16 << 20)


def flowing(*pieces: bytes, length: int | None = None) -> Body:
    async def each() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    return Body(each(), length=length)


class Here(Body):
    """A body that has come whole."""

    def here(self) -> bytes:
        return b"all of it"


@pytest.mark.parametrize("count", [0, 1, 3, 16, 17, LARGE])
async def test_what_was_spooled_can_be_read_again_and_again(count: int, capacity: Capacity) -> None:
    seen: list[bytes] = []
    place = capacity.take("a")
    body = await spooled(flowing(*[PIECE] * count), place, seen.append)
    assert (body.replayable, body.length, place.size) == (True, count << 16, count << 16)
    assert seen == [PIECE] * count
    assert (body.here() is None) is (count > 16)
    for _ in range(2):
        assert await read_whole(body) == PIECE * count
    place.release()
    assert (capacity.size, capacity.calls) == (0, 0)


async def test_two_read_a_file_at_the_same_time(capacity: Capacity) -> None:
    place = capacity.take("a")
    body = await spooled(flowing(*[PIECE] * LARGE), place)
    assert await asyncio.gather(read_whole(body), read_whole(body)) == [PIECE * LARGE] * 2
    place.release()


async def test_what_is_here_is_taken_at_once(capacity: Capacity) -> None:
    seen: list[bytes] = []
    place = capacity.take("a")
    assert await kept(Here(flowing()), place, seen.append) == b"all of it"
    assert (seen, place.size) == ([b"all of it"], 9)
    place.release()
    assert capacity.size == 0


async def test_what_flows_is_spooled_where_it_is_to_be_kept(capacity: Capacity) -> None:
    place = capacity.take("a")
    body = await kept(flowing(b"once"), place)
    assert isinstance(body, Body)
    assert await kept(body, place) is body  # it can be read again
    assert (await read_whole(body), place.size) == (b"once", 4)


async def test_what_is_here_and_has_no_room_is_refused(capacity: Capacity) -> None:
    class Large(Body):
        def here(self) -> bytes:
            return bytes(13 << 20)

    with pytest.raises(GatewayError) as refused:
        await kept(Large(flowing()), capacity.take("a"))
    assert refused.value.status == 413


async def test_what_can_be_read_again_is_not_copied(capacity: Capacity) -> None:
    place, seen = capacity.take("a"), list[bytes]()
    first = await spooled(flowing(b"once"), place)
    assert await spooled(first, place, seen.append) is first
    assert (place.size, seen) == (4, [b"once"])


@pytest.mark.parametrize("length", [None, 13 << 20])
async def test_what_there_is_no_room_for_is_refused(length: int | None, capacity: Capacity) -> None:
    """In the end, all that was kept is forgotten."""
    asked = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal asked
        while True:
            asked += 1
            yield PIECE

    place = capacity.take("a")
    with pytest.raises(GatewayError) as caught:
        await spooled(Body(endless(), length=length), place)
    assert caught.value.status == 413
    assert asked == (193 if length is None else 0)
    place.release()
    other = capacity.take("a")
    other.keep(12 << 20)
    place = capacity.take("a")
    with pytest.raises(Busy):
        await spooled(flowing(PIECE), place)
    place.release()


async def test_the_file_is_its_owners_has_no_name_and_is_closed_with_the_call(
    capacity: Capacity, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    place = capacity.take("a")
    spool = Spool(place)
    for _ in range(LARGE):
        await spool.write(PIECE)
    file = spool._file
    assert file is not None
    status = os.fstat(file.fileno())
    assert (stat.S_IMODE(status.st_mode), status.st_nlink, list(tmp_path.iterdir())) == (0o600, 0, [])
    assert b"".join([piece async for piece in spool.pieces()]) == PIECE * LARGE
    place.release()
    await asyncio.get_running_loop().run_in_executor(None, lambda: None)
    while not file.closed:
        await asyncio.sleep(0.01)
    with pytest.raises(ValueError, match="closed"):
        await asyncio.to_thread(spool._read, 0)
    spool._append([b"late"])  # by a thread that was still at it
    assert spool._file is file


async def test_a_disk_without_space_is_a_503(capacity: Capacity, monkeypatch: pytest.MonkeyPatch) -> None:
    def full() -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.tempfile, "TemporaryFile", full)
    with pytest.raises(GatewayError, match="cannot keep that body") as caught:
        await spooled(flowing(*[PIECE] * LARGE), capacity.take("a"))
    assert (caught.value.status, caught.value.headers) == (503, {"Retry-After": "60"})
