from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import nullcontext
from typing import Any

import pytest

import oo
import oo.testing
from oo._core.io import LoopIO
from oo._core.masking import STEP, Mask
from oo._core.pipeline import CallNext, Middleware, Pipeline
from oo._http.body import Body
from oo.gateway.context import GatewayContext, gateway_context
from oo.gateway.middleware.mask import MOST_KEPT, MaskResponse, hide, masked, masked_body
from oo.gateway.models import Route

KEY = "the-real-key"
ROUTE = Route("r", "http://x", {"X-Key": "{key}"})


def request() -> oo.Request:
    context = GatewayContext()
    context.route = ROUTE
    return oo.Request("GET", "http://x/", stream_response=True, context=context)


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


LONG = oo.Headers([(f"X-{number}", f"{'%41' * 5000}<{KEY}>") for number in range(9)])


async def test_long_headers_are_masked_in_steps_between_which_others_have_their_turn() -> None:
    turns, done = 0, False

    async def others() -> None:
        nonlocal turns
        while not done:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(others())
    response = await answered(oo.testing.Streamed([b"x"], headers=LONG))
    done = True
    await other
    assert response.headers.pairs() == tuple((name, value.replace(KEY, "***")) for name, value in LONG.pairs())
    assert turns > len(LONG.pairs())


async def test_whose_caller_leaves_meanwhile_is_ended() -> None:
    stream = oo.testing.Streamed([b"x"], headers=LONG)
    call = asyncio.create_task(answered(stream))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    call.cancel()
    await asyncio.wait([call])
    assert (call.cancelled(), stream.left) == (True, True)


async def test_another_protocol_is_an_error_and_ends_the_connection() -> None:
    stream = oo.testing.Streamed([b"x"], status=101)
    with pytest.raises(oo.DoubleOError, match="switched to another protocol") as caught:
        await answered(stream)
    assert caught.value.reason == "protocol"
    assert stream.left is True


async def test_nothing_can_be_hidden_where_nobody_masks() -> None:
    with pytest.raises(RuntimeError, match="no MaskResponse"):
        hide(request(), [KEY])


async def test_the_context_of_a_call_shows_no_value() -> None:
    response = await answered(b"x")
    assert KEY not in repr(response.context) + repr(response.request)


async def test_a_later_call_hides_its_own_values_and_no_earlier_ones() -> None:
    mask = MaskResponse()
    for key in ("first-key", "second-key", "first-key"):

        async def adds(request: oo.Request, call_next: CallNext, key: str = key) -> oo.Response:
            hide(request, [key])
            return await call_next(request)

        transport = oo.testing.MockTransport([b"first-key second-key"])
        response = await Pipeline([mask, adds], transport, LoopIO()).handle(request())
        assert response.body.decode() == "first-key second-key".replace(key, "***")


@pytest.mark.parametrize(("routes", "length"), [(3000, 20), (40, 20_000), (3, 400_000)])
async def test_what_is_remembered_of_many_routes_is_bounded(routes: int, length: int) -> None:
    mask, echo = MaskResponse(), oo.testing.MockTransport(lambda sent: oo.Response(200, body=b"x", request=sent))
    for number in range(routes):
        key = f"{number:0{length}}"

        async def adds(request: oo.Request, call_next: CallNext, key: str = key) -> oo.Response:
            hide(request, [key])
            return await call_next(request)

        sent = request()
        gateway_context(sent).route = Route(f"r{number}", "http://x", {"X-Key": "{key}"})
        await Pipeline([mask, adds], echo, LoopIO()).handle(sent)
    assert sum(kept.size for _, kept in mask._masks.values()) <= MOST_KEPT
    assert bool(mask._masks) == (Mask([key]).size <= MOST_KEPT)


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def test_what_remains_of_a_known_length_is_counted_down_to_the_last_piece() -> None:
    stream = masked(Body(pieces(b"one\n", b"the-re"), length=10), Mask([KEY]))
    assert stream.remaining == 10
    assert [(piece, stream.remaining) async for piece in stream] == [(b"one\n", 6), (b"the-re", 0)]


async def test_what_remains_is_unknown_until_a_held_back_end() -> None:
    stream = masked(Body(pieces(b"one\n", b"the-re")), Mask([KEY]))
    assert [(piece, stream.remaining) async for piece in stream] == [(b"one\n", None), (b"", None), (b"the-re", 0)]


@pytest.mark.parametrize("begun", [False, True])
async def test_a_masked_stream_that_is_left_closes_the_one_beneath(begun: bool) -> None:
    inner = Body(pieces(b"one\n", b"two"), length=7)
    stream = masked(inner, Mask([KEY]))
    if begun:
        assert await anext(aiter(stream)) == b"one\n"
    await stream.aclose()
    assert inner.outcome == "left"
    assert [piece async for piece in stream] == []


TEXT = b"%41" * (10 * STEP // 3) + b" the-value-x"


async def turns_during(work: asyncio.Future[bytes]) -> int:
    """How many turns a task has that asks for one after another while `work` goes on."""
    turns = 0
    while not work.done():
        await asyncio.sleep(0)
        turns += 1
    return turns


async def streamed(stream: AsyncIterator[bytes]) -> bytes:
    return b"".join([piece async for piece in stream])


@pytest.mark.parametrize("size", [STEP, STEP // 4, len(TEXT)])
def test_others_have_a_turn_between_the_steps_of_a_stream(size: int) -> None:
    async def run() -> tuple[bytes, int]:
        # None of the pieces is waited for.
        stream = oo.testing.Streamed([TEXT[at : at + size] for at in range(0, len(TEXT), size)])
        work = asyncio.ensure_future(streamed(aiter(masked(stream, Mask(["the-value-x"])))))
        turns = await turns_during(work)
        return await work, turns

    body, turns = asyncio.run(run())
    assert body == TEXT.replace(b"the-value-x", b"***")
    assert turns >= 10


def test_others_have_a_turn_between_the_steps_of_a_whole_body() -> None:
    async def run() -> tuple[bytes, int]:
        work = asyncio.ensure_future(masked_body(TEXT, Mask(["the-value-x"])))
        turns = await turns_during(work)
        return await work, turns

    body, turns = asyncio.run(run())
    assert body == TEXT.replace(b"the-value-x", b"***")
    assert turns >= 10


async def test_the_text_of_an_error_is_masked() -> None:
    with pytest.raises(oo.DoubleOError) as caught:
        await answered(oo.DoubleOError(f"no such thing: {KEY}", reason="argument"))
    assert (str(caught.value), caught.value.reason) == ("no such thing: ***", "argument")


async def wrapped(request: oo.Request, call_next: CallNext) -> oo.Response:
    """A plugin's, which knows nothing of where the body of an answer ends."""
    response = await call_next(request)
    assert response.stream is not None
    return response.replace(stream=Body(response.stream))


@pytest.mark.parametrize(
    ("framing", "pause", "end", "breaks"),
    [
        ([], 0.05, b"the-re", True),
        ([], 0.05, b"two\n", False),
        ([], 0.0, b"the-re", False),
        ([("Content-Length", "10")], 0.05, b"the-re", False),
        ([("Transfer-Encoding", "chunked")], 0.05, b"the-re", False),
    ],
)
@pytest.mark.parametrize("inner", [adding, wrapped])
async def test_a_caller_who_does_not_read_on_chooses_no_place_where_a_secret_is_cut(
    framing: list[tuple[str, str]],
    pause: float,
    end: bytes,
    breaks: bool,
    inner: Middleware,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("oo.gateway.middleware.mask._STALL", 0.02 if pause else 60.0)  # this machine may be busy
    scripted = oo.testing.Streamed([b"one\n", end], headers=oo.Headers(framing))
    transport, got = oo.testing.MockTransport([scripted]), []
    response = await Pipeline([MaskResponse(), adding, inner], transport, LoopIO()).handle(request())
    assert response.stream is not None
    with pytest.raises(oo.DoubleOError, match="may have been cut") if breaks else nullcontext():
        async for piece in response.stream:
            got.append(piece)
            await asyncio.sleep(pause)
    assert b"".join(got) == b"one\n" + (b"" if breaks else end)
