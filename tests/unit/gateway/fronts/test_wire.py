from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web

import oo
import oo.testing
from oo._http.body import Body
from oo.gateway import idempotency
from oo.gateway.fronts.wire import answer_headers, relay
from oo.gateway.idempotency import Claim
from oo.gateway.models import StoredResponse
from tests.support.exchanging import connected, exchange, request
from tests.support.stores import LenientStore

SENT = oo.Request("GET", "http://x/", timeout=0.2)


async def generated(*pieces: bytes | Exception) -> AsyncIterator[bytes]:
    """What a middleware may put in a stream's place."""
    for piece in pieces:
        await asyncio.sleep(0)
        if isinstance(piece, Exception):
            raise piece
        yield piece


def counted(*pieces: bytes) -> Body:
    """A stream that knows how much remains."""
    return Body(generated(*pieces), length=sum(map(len, pieces)))


def relaying(make: Callable[[], Any], outcomes: list[Any], claim: Claim | None = None) -> Any:
    async def handler(received: web.BaseRequest) -> web.StreamResponse:
        headers = oo.Headers([("X-Mine", "1"), ("Connection", "x-hop"), ("X-Hop", "1")])
        response = oo.Response(200, headers, request=SENT, stream=make())
        if claim is not None:
            response = claim.recorded(response, [("X-Mine", "1")])
        try:
            read_on = lambda: claim is not None and claim.recording  # noqa: E731  # as the front says it
            return await relay(received, "the-id", response.on_end(outcomes.append), read_on)
        except Exception as error:
            outcomes.append(error)
            return web.Response(status=502)

    return handler


@pytest.mark.parametrize(
    ("make", "one_write"),
    [
        (lambda: counted(b"whole"), True),
        (lambda: counted(b"wh", b"ole"), False),
        (lambda: oo.testing.Streamed([b"wh", b"ole"]), False),
        (lambda: generated(b"whole"), False),
        (lambda: generated(b"", b"wh", b"", b"ole"), False),
    ],
    ids=["one counted piece", "two counted pieces", "a transport's stream", "a generator", "a generator in pieces"],
)
async def test_any_stream_arrives_whole(make: Callable[[], Any], one_write: bool) -> None:
    outcomes: list[Any] = []
    got = await exchange(relaying(make, outcomes), request())
    head, _, body = got.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert b"X-Mine: 1" in head
    assert b"X-Hop" not in head
    assert b"Server: double-o" in head
    assert (b"Content-Length: 5" in head, b"X-Request-Id: the-id" in head) == (one_write, not one_write)
    if one_write:
        assert body == b"whole"
    else:
        assert b"".join(body.split(b"\r\n")[1::2]) == b"whole"
        assert body.endswith(b"\r\n0\r\n\r\n")
    assert outcomes == ["complete"]


@pytest.mark.parametrize("make", [lambda: generated(), lambda: counted()])
async def test_a_stream_of_nothing_is_an_answer_without_a_body(make: Callable[[], Any]) -> None:
    got = await exchange(relaying(make, []), request())
    assert got.startswith(b"HTTP/1.1 200 ")
    assert b"Content-Length: 0" in got
    assert got.endswith(b"\r\n\r\n")


async def test_a_stream_that_breaks_before_it_begins_is_the_callers_to_answer() -> None:
    error = oo.DoubleOError("broken", reason="connection")
    outcomes: list[Any] = []
    assert (await exchange(relaying(lambda: generated(error), outcomes), request())).startswith(b"HTTP/1.1 502 ")
    assert outcomes == ["failed", error]


async def test_a_stream_that_breaks_later_does_not_look_whole() -> None:
    error = oo.DoubleOError("broken", reason="connection")
    outcomes: list[Any] = []
    got = b""
    try:
        got = await exchange(relaying(lambda: generated(b"half", error), outcomes), request())
    except ConnectionError:
        pass  # the reset may overtake what had been sent
    assert not got.endswith(b"0\r\n\r\n")
    assert outcomes == ["failed"]


async def test_a_generator_is_closed_when_its_caller_has_gone() -> None:
    closed, outcomes = asyncio.Event(), []  # type: tuple[asyncio.Event, list[Any]]

    async def endless() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x" * 1024
                await asyncio.sleep(0)
        finally:
            closed.set()

    async with connected(relaying(endless, outcomes)) as (reader, writer):
        writer.write(request())
        await reader.readexactly(1024)
        writer.transport.abort()
        await asyncio.wait_for(closed.wait(), 10)


@pytest.mark.parametrize(("limit", "stored"), [(5, True), (4, False)])
@pytest.mark.parametrize("make", [lambda: generated(b"wh", b"ole"), lambda: counted(b"whole"), lambda: None])
async def test_what_is_not_too_large_is_kept_for_a_repeat(
    make: Callable[[], Any], limit: int, stored: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idempotency, "MAX_KEPT", limit)
    store = LenientStore()
    claim = Claim(store, "id", "k", 7.0, 60)
    async with claim:
        await exchange(relaying(make, [], claim), request())
    body = b"" if make() is None else b"whole"
    whole = StoredResponse(200, (("X-Mine", "1"),), body)
    assert store.settled == [whole if stored or not body else None]


def test_the_answers_server_is_the_gateway() -> None:
    headers = answer_headers([("X-A", "1"), ("X-A", "2")])
    assert list(headers.items()) == [("X-A", "1"), ("X-A", "2"), ("Server", "double-o")]
