"""What is written in one turn of a loop is written together at its end, in its order, and never after a close."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

import pytest

from oo._core.write_batch import LARGEST, BatchedTransport, WriteBatch


class Ends:
    """Connections whose near ends are batched, and the sockets of their far ends."""

    def __init__(self) -> None:
        self.batch = WriteBatch(asyncio.get_running_loop())
        self._all: list[socket.socket | asyncio.Transport] = []

    async def connect(self) -> tuple[BatchedTransport, Callable[[], bytes]]:
        near, far = socket.socketpair()
        far.setblocking(False)
        transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=near)
        self._all += [far, transport]

        def came() -> bytes:
            try:
                return far.recv(4 * LARGEST)
            except BlockingIOError:
                return b""

        return BatchedTransport(transport, self.batch), came

    async def close(self) -> None:
        for each in self._all:
            each.close()
        await turn()


async def turn() -> None:
    for _ in range(3):  # a transport is closed a turn after it was told
        await asyncio.sleep(0)


@pytest.fixture
async def ends():  # type: ignore[no-untyped-def]  # pytest-asyncio's
    made = Ends()
    yield made
    await made.close()


async def test_what_is_written_in_a_turn_is_written_at_its_end(ends: Ends) -> None:
    (one, of_one), (other, of_other) = await ends.connect(), await ends.connect()
    one.write(b"a")
    other.write(b"b")
    one.writelines([b"c", b"d"])
    assert (of_one(), of_other()) == (b"", b"")
    assert one.get_write_buffer_size() == 3
    await turn()
    assert (of_one(), of_other()) == (b"acd", b"b")
    assert one.get_write_buffer_size() == 0
    one.write(b"e")
    await turn()
    assert of_one() == b"e"


async def test_what_is_large_is_written_at_once_behind_what_was_kept(ends: Ends) -> None:
    one, came = await ends.connect()
    one.write(b"a")
    one.write(b"b" * LARGEST)
    assert came() == b"a" + b"b" * LARGEST
    one.write(b"c")
    await turn()
    assert came() == b"c"


@pytest.mark.parametrize("close", [BatchedTransport.close, BatchedTransport.write_eof, BatchedTransport.flush])
async def test_what_was_kept_is_written_before_an_end(ends: Ends, close: Callable[[BatchedTransport], None]) -> None:
    one, came = await ends.connect()
    one.write(b"a")
    close(one)
    await turn()
    assert came() == b"a"
    assert one.under.is_closing() == (close is BatchedTransport.close)


@pytest.mark.parametrize("end", ["abort", "close beneath"])
async def test_what_was_kept_is_dropped_where_the_transport_has_ended(ends: Ends, end: str) -> None:
    one, came = await ends.connect()
    other, of_other = await ends.connect()
    one.write(b"a")
    other.write(b"b")
    one.abort() if end == "abort" else one.under.close()
    await turn()
    assert (came(), of_other()) == (b"", b"b")
    assert one.is_closing()
    one.write(b"c")  # which a connection may do that was not told yet
    await turn()


async def test_whatever_else_is_asked_is_asked_of_the_transport_beneath(ends: Ends) -> None:
    one, _ = await ends.connect()
    one.pause_reading()
    assert not one.under.is_reading()
    assert one.get_extra_info("socket") is one.under.get_extra_info("socket")
    with pytest.raises(AttributeError):
        _ = one.nothing_of_the_kind


async def test_a_write_that_fails_ends_its_own_connection_alone(ends: Ends) -> None:
    said = list[BaseException]()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context["exception"]))
    (bad, of_bad), (good, of_good) = await ends.connect(), await ends.connect()
    bad.write_eof()
    bad.write(b"a")
    good.write(b"b")
    await turn()
    assert (of_bad(), of_good(), [str(each) for each in said]) == (
        b"",
        b"b",
        ["Cannot call write() after write_eof()"],
    )
    assert bad.is_closing()
    good.write(b"c")
    await turn()
    assert of_good() == b"c"
