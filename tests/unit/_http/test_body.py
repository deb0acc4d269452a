"""Body: bytes in pieces, and what is told of their end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from oo._core.pipeline import iterate_sync, run_sync
from oo._http.body import Body, is_sendable, read_whole, remaining_of


async def pieces(*parts: bytes | Exception) -> AsyncIterator[bytes]:
    for part in parts:
        if isinstance(part, Exception):
            raise part
        yield part


def watched(body: Body) -> list[str]:
    ends: list[str] = []
    body.on_end(ends.append)
    return ends


def test_a_body_is_read_once_and_tells_what_is_still_to_come() -> None:
    body, left = Body(pieces(b"ab", b"c"), length=3), []
    ends = watched(body)
    assert (body.length, body.remaining, body.begun, body.replayable) == (3, 3, False, False)
    for _ in iterate_sync(aiter(body)):  # type: ignore[arg-type]  # an async generator
        left.append(body.remaining)
    assert (left, ends, body.outcome) == ([1, 0], ["complete"], "complete")
    assert list(iterate_sync(aiter(body))) == []  # type: ignore[arg-type]  # as above


def test_a_body_of_a_function_is_read_again_from_its_beginning() -> None:
    body = Body(lambda: pieces(b"ab", b"c"), length=3)
    ends = watched(body)
    assert body.replayable
    for _ in range(2):
        assert list(iterate_sync(aiter(body))) == [b"ab", b"c"]  # type: ignore[arg-type]  # as above
    assert ends == ["complete"]


@pytest.mark.parametrize("how", ["read", "broken", "closed", "aborted", "abandoned by its reader", "cancelled"])
def test_its_end_is_told_exactly_once(how: str) -> None:
    aborted: list[int] = []
    parts: tuple[Any, ...] = (b"a", ValueError("x")) if how == "broken" else (b"a", b"b")
    body = Body(pieces(*parts), abort=lambda: aborted.append(1))
    ends = watched(body)
    reading = aiter(body)

    async def end() -> None:
        assert await anext(reading) == b"a"
        if how == "read":
            assert [piece async for piece in reading] == [b"b"]
        elif how == "broken":
            with pytest.raises(ValueError, match="x"):
                await anext(reading)
        elif how == "closed":
            await body.aclose()
        elif how == "aborted":
            assert body.abort()
        elif how == "abandoned by its reader":
            await reading.aclose()  # type: ignore[attr-defined]  # an async generator
        else:
            with pytest.raises(asyncio.CancelledError):
                await reading.athrow(asyncio.CancelledError())  # type: ignore[attr-defined]  # as above
        assert not body.abort()
        await reading.aclose()  # type: ignore[attr-defined]  # as above

    run_sync(end())
    outcome = {"read": "complete", "broken": "failed"}.get(how, "left")
    assert ends == [outcome] == watched(body)
    assert len(aborted) == (how != "read")
    assert (body.error is not None) == (how == "broken")


def test_a_body_that_nobody_read_is_left() -> None:
    body = Body(pieces(b"a"))
    ends = watched(body)
    run_sync(body.aclose())
    assert (ends, list(iterate_sync(aiter(body)))) == (["left"], [])  # type: ignore[arg-type]  # as above


@pytest.mark.parametrize("own", [True, False])
def test_a_body_around_a_stream_begins_with_what_remains_of_it_and_aborts_it(own: bool) -> None:
    aborted: list[str] = []
    stream = Body(pieces(b"ab", b"c"), length=3, abort=lambda: aborted.append("stream"))
    body = Body.wrapping(stream, pieces(b"x"), abort=(lambda: aborted.append("own")) if own else None)
    assert (body.length, body.remaining, remaining_of(stream)) == (None, 3, 3)
    assert body.abort() is True
    assert aborted == ["own" if own else "stream"]
    assert (stream.outcome, body.outcome) == (None if own else "left", "left")


def test_a_body_around_a_generator_knows_neither() -> None:
    body = Body.wrapping(pieces(b"a"), pieces(b"x"))
    assert (body.remaining, remaining_of(pieces(b"a")), body.abort()) == (None, None, True)


async def test_a_body_is_sendable_until_it_has_begun_and_again_where_it_can_be_read_again() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"a"

    once, again = Body(pieces()), Body(pieces)
    assert all(map(is_sendable, (None, b"a", once, again)))
    for body in (once, again):
        assert await read_whole(body) == b"a"
    assert (is_sendable(once), is_sendable(again)) == (False, True)
