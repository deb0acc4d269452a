from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from io import BytesIO

import pytest

import oo
from oo._http.body import Body
from oo.transports.uploads import uploaded, whole_data


def request(*waits: float, timeout: float = 0.1, deadline: float | None = None) -> tuple[oo.Request, Body]:
    """A request with a piece after each of these waits."""

    async def pieces() -> AsyncIterator[bytes]:
        for wait in waits:
            await asyncio.sleep(wait)
            yield b"x"

    body = Body(pieces())
    return oo.Request("POST", "http://x/", body=body, timeout=timeout, deadline=deadline, stream_response=True), body


async def sent(made: tuple[oo.Request, Body], *, taking: float = 0.0, answering: float = 0.0) -> bytes:
    """The body, as a server gets it that takes so long for each piece and for the answer."""

    async def begin(pieces: AsyncIterator[bytes]) -> bytes:
        # As in aiohttp, the pieces are taken by another task than the one that waits for the answer.
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        async def write() -> None:
            got = b""
            try:
                async for piece in pieces:
                    await asyncio.sleep(taking)
                    got += piece
                await asyncio.sleep(answering)
                answer.set_result(got)
            except asyncio.CancelledError:
                if not answer.done():
                    answer.set_exception(ConnectionError("who writes was ended before who waits"))

        writing = asyncio.ensure_future(write())
        try:
            return await answer
        finally:
            writing.cancel()
            await asyncio.wait([writing])

    return await uploaded(*made, 0.1, begin)


@pytest.mark.parametrize(
    ("waits", "taking", "answering"),
    [((0.2,), 0.0, 0.0), ((0.2, 0.2), 0.05, 0.05), ((0.0,) * 4, 0.05, 0.0)],
    ids=["who gives it takes long", "both take their time", "all of it takes long"],
)
async def test_a_body_may_take_longer_than_any_step(waits: tuple[float, ...], taking: float, answering: float) -> None:
    assert await sent(request(*waits, timeout=2), taking=taking, answering=answering) == b"x" * len(waits)


@pytest.mark.parametrize(("taking", "answering"), [(5.0, 0.0), (0.0, 5.0)], ids=["a piece", "the answer"])
async def test_a_server_that_takes_too_long_is_given_up(taking: float, answering: float) -> None:
    with pytest.raises(asyncio.TimeoutError):
        await sent(request(0.0), taking=taking, answering=answering)


async def test_no_body_outlasts_the_deadline() -> None:
    with pytest.raises(asyncio.TimeoutError):
        await sent(request(0.0, 5.0, timeout=2, deadline=time.monotonic() + 0.2))


async def test_what_is_sent_after_the_answer_is_not_timed() -> None:
    """An answer may come before the body is whole."""
    rest: list[AsyncIterator[bytes]] = []

    async def begin(pieces: AsyncIterator[bytes]) -> str:
        rest.append(pieces)
        return "answer"

    made = request(0.0, 0.2)
    assert await uploaded(*made, 0.1, begin) == "answer"
    assert [piece async for piece in rest[0]] == [b"x", b"x"]


LARGE = bytes(range(256)) * 512


@pytest.mark.parametrize(
    ("body", "given"),
    [(None, None), (b"", b""), (b"small", b"small"), (bytes(1 << 16), bytes(1 << 16))],
    ids=["no body", "an empty one", "a small one", "the largest in one piece"],
)
def test_what_is_small_is_given_as_it_is(body: bytes | None, given: bytes | None) -> None:
    assert whole_data(body) == given


def test_what_is_large_is_read_in_pieces() -> None:
    data = whole_data(LARGE)
    assert isinstance(data, BytesIO)
    assert data.read() == LARGE


async def test_what_flows_is_given_as_it_comes() -> None:
    data = whole_data(request(0.0, 0.0)[1])
    assert not isinstance(data, bytes | BytesIO)
    assert data is not None
    assert [piece async for piece in data] == [b"x", b"x"]
