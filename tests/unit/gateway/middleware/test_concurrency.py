from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

import oo
from oo._http.body import Body
from oo.gateway.capacity import Busy, Capacity
from oo.gateway.context import gateway_context
from oo.gateway.middleware.concurrency import Concurrency
from tests.support.calls import call, through


async def pieces() -> AsyncIterator[bytes]:
    yield b"one"
    yield b"two"


@pytest.mark.parametrize("end", ["read", "left"])
async def test_a_call_holds_its_place_until_its_answer_has_ended(end: str) -> None:
    capacity = Capacity(4)
    request = call(token_id="id")
    answer, _ = await through(Concurrency(capacity), request, oo.Response(200, request=request, stream=Body(pieces())))
    assert (capacity.calls, isinstance(answer.stream, Body)) == (1, True)
    assert isinstance(answer.stream, Body)
    if end == "read":
        assert [piece async for piece in answer.stream] == [b"one", b"two"]
    else:
        await answer.stream.aclose()
    assert capacity.calls == 0


@pytest.mark.parametrize("script", [b"whole", oo.DoubleOError("failed")])
async def test_an_answer_in_one_piece_and_a_failure_end_a_call(script: bytes | Exception) -> None:
    capacity = Capacity(4)
    try:
        await through(Concurrency(capacity), call(token_id="id"), script)
    except oo.DoubleOError:
        assert isinstance(script, Exception)
    assert capacity.calls == 0


async def test_one_too_many_is_refused() -> None:
    capacity = Capacity(4)
    capacity.take("id")
    with pytest.raises(Busy):
        await through(Concurrency(capacity), call(token_id="id", concurrency=1))
    assert capacity.calls == 1


async def test_what_needs_no_token_needs_no_place() -> None:
    capacity, request = Capacity(0), call(endpoint="health")
    answer, _ = await through(Concurrency(capacity), request)
    assert answer.body == b"end"
    gateway_context(request).place.keep(1)  # counts nowhere
    assert capacity.size == 0
