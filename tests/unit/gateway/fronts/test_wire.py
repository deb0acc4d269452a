from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web

import oo
import oo.testing
from oo._http.body import Body
from oo.gateway.context import GatewayContext
from oo.gateway.fronts.wire import answer_headers, relay
from tests.support.exchanging import connected, exchange, request
from tests.support.streams import pieces as generated

CONTEXT = GatewayContext()
CONTEXT.id = "the-id"
SENT = oo.Request("GET", "http://x/", timeout=0.2, context=CONTEXT)


def counted(*pieces: bytes) -> Body:
    """A stream that knows how much remains."""
    return Body(generated(*pieces), length=sum(map(len, pieces)))


def relaying(make: Callable[[], Any], outcomes: list[Any]) -> Any:
    async def handler(received: web.BaseRequest) -> web.StreamResponse:
        response = oo.Response(200, oo.Headers([("X-Mine", "1")]), request=SENT, stream=make())
        try:
            return await relay(received, response.on_end(outcomes.append))
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
    assert b"Server: double-o" in head
    assert b"X-Request-Id: the-id" in head
    assert (b"Content-Length: 5" in head) is one_write
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


async def test_what_was_sent_is_counted() -> None:
    CONTEXT.bytes_out = 0
    await exchange(relaying(lambda: counted(b"whole"), []), request())
    await exchange(relaying(lambda: generated(b"wh", b"ole!"), []), request())
    assert CONTEXT.bytes_out == 11


def test_the_answers_server_is_the_gateway() -> None:
    response = oo.Response(200, oo.Headers([("X-A", "1"), ("X-A", "2")]), request=SENT)
    ids = [("X-OO-Request-Id", "the-id"), ("Server", "double-o"), ("X-Request-Id", "the-id")]
    assert list(answer_headers(response).items()) == [("X-A", "1"), ("X-A", "2"), *ids]


def test_an_upstreams_name_of_the_call_stands_beside_ours() -> None:
    headers = answer_headers(oo.Response(200, oo.Headers({"x-request-id": "theirs"}), request=SENT))
    assert (headers.getall("X-Request-Id"), headers.getall("X-OO-Request-Id")) == (["theirs"], ["the-id"])
