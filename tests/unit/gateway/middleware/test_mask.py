from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

import oo
import oo.testing
from oo._core.io import LoopIO
from oo._core.masking import Mask
from oo._core.pipeline import CallNext, Pipeline
from oo.gateway.middleware.mask import MaskedStream, MaskResponse, hide
from oo.gateway.models import Route

KEY = "the-real-key"
ROUTE = Route("r", "http://x", {"X-Key": "{key}"})


def request() -> oo.Request:
    return oo.Request(
        "GET", "http://x/", operation="proxy", parse=lambda _: None, stream_response=True, extensions={"route": ROUTE}
    )


async def adding(request: oo.Request, call_next: CallNext) -> oo.Response:
    """A middleware that adds a secret."""
    hide(request, [KEY])
    return await call_next(request)


async def answered(scripted: Any) -> oo.Response:
    transport = oo.testing.MockTransport([scripted])
    return await Pipeline([MaskResponse(), adding], transport, LoopIO()).handle(request())


@pytest.mark.parametrize("scripted", [oo.testing.Streamed([b"a the-re", b"al-key"]), b"a the-real-key"])
async def test_a_masked_body_reads_as_any_other(scripted: Any) -> None:
    response = await answered(scripted)
    assert (await response.buffered()).body == b"a ***"


async def test_names_and_values_of_headers_are_masked() -> None:
    headers = oo.Headers([(KEY, "x"), ("X-Echo", f"<{KEY}>"), ("X-Other", "kept")])
    response = await answered(oo.testing.Streamed([], headers=headers))
    assert response.headers.pairs() == (("***", "x"), ("X-Echo", "<***>"), ("X-Other", "kept"))


async def test_another_protocol_is_an_error_and_ends_the_connection() -> None:
    stream = oo.testing.Streamed([b"x"], status=101)
    with pytest.raises(oo.DoubleOError, match="switched to another protocol") as caught:
        await answered(stream)
    assert caught.value.reason == "protocol"
    assert stream.left is True


async def test_nothing_can_be_hidden_where_nobody_masks() -> None:
    with pytest.raises(RuntimeError, match="no MaskResponse"):
        hide(request(), [KEY])


async def test_the_extensions_of_a_call_show_no_value() -> None:
    response = await answered(b"x")
    assert KEY not in repr(response.extensions)


async def test_a_later_call_hides_its_own_values_and_no_earlier_ones() -> None:
    mask = MaskResponse()
    for key in ("first-key", "second-key", "first-key"):

        async def adds(request: oo.Request, call_next: CallNext, key: str = key) -> oo.Response:
            hide(request, [key])
            return await call_next(request)

        transport = oo.testing.MockTransport([b"first-key second-key"])
        response = await Pipeline([mask, adds], transport, LoopIO()).handle(request())
        assert response.body.decode() == "first-key second-key".replace(key, "***")


class Sized:
    """A body of a known length."""

    def __init__(self, *pieces: bytes, length: int | None) -> None:
        self.length = length
        self.closed = False
        self._pieces = pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece

    async def aclose(self) -> None:
        self.closed = True


async def test_what_remains_of_a_known_length_is_counted_down_to_the_last_piece() -> None:
    stream = MaskedStream(Sized(b"one", b"the-re", length=9), Mask([KEY]))
    assert stream.remaining == 9
    assert [(piece, stream.remaining) async for piece in stream] == [(b"one", 6), (b"the-re", 0)]


async def test_what_remains_is_unknown_until_a_held_back_end() -> None:
    stream = MaskedStream(Sized(b"one", b"the-re", length=None), Mask([KEY]))
    assert [(piece, stream.remaining) async for piece in stream] == [(b"one", None), (b"", None), (b"the-re", 0)]


@pytest.mark.parametrize("begun", [False, True])
async def test_a_masked_stream_that_is_left_closes_the_one_beneath(begun: bool) -> None:
    inner = Sized(b"one", b"two", length=6)
    stream = MaskedStream(inner, Mask([KEY]))
    if begun:
        assert await anext(aiter(stream)) == b"one"
    await stream.aclose()
    assert inner.closed
    assert [piece async for piece in stream] == []
