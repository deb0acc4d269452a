from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import web

from oo._http.body import read_whole
from oo.gateway.context import GatewayContext
from oo.gateway.errors import GatewayError
from oo.gateway.fronts.body_reader import CallerBody
from oo.gateway.http_server import data_rate
from tests.support.exchanging import exchange, request

CHUNKED = "Transfer-Encoding: chunked"


async def outcome(*sent: bytes) -> tuple[Any, bytes]:
    """What reading the body of a request gives, and what its sender gets."""
    found: list[Any] = []

    async def handler(received: web.BaseRequest) -> web.StreamResponse:
        context = GatewayContext()
        body = CallerBody(received, context) if received.body_exists else None
        try:
            here = None if body is None else body.here()
            found.append(await read_whole(body) if here is None else here)
            assert body is None or (body.outcome, context.bytes_in) == ("complete", len(found[0]))
        except GatewayError as refusal:
            found.append((refusal.status, refusal.outcome))
            return web.Response(status=refusal.status)
        return web.Response(text="read")

    got = await exchange(handler, *sent)
    return found[0], got


@pytest.mark.parametrize(
    ("sent", "body"),
    [
        ([request("GET")], None),
        ([request("POST", "Content-Length: 0")], None),
        ([request("POST", "Content-Length: 4", body=b"body")], b"body"),
        ([request("POST", "Content-Length: 4"), b"bo", b"dy"], b"body"),
        ([request("POST", CHUNKED, body=b"2\r\nbo\r\n2\r\ndy\r\n0\r\n\r\n")], b"body"),
        ([request("POST", CHUNKED), b"2\r\nbo\r\n", b"2\r\ndy\r\n", b"0\r\n\r\n"], b"body"),
    ],
    ids=["none", "of no length", "at once", "in pieces", "chunked", "chunked in pieces"],
)
async def test_a_body_is_read_whole(sent: list[bytes], body: bytes | None) -> None:
    found, got = await outcome(*sent)
    assert found == body
    assert got.endswith(b"read")


@pytest.mark.parametrize(
    ("sent", "refused"),
    [
        ([request("POST", "Expect: wonders", "Content-Length: 4", body=b"body")], (417, "bad request")),
        ([request("POST", "Expect: wonders", "Content-Length: 4"), b"body"], (417, "bad request")),
        ([request("POST", CHUNKED), b"1\r\nx\r\n", b"zz\r\n"], (400, "bad request")),
        ([request("POST", "Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n")], (501, "bad request")),
        ([request("POST", "Transfer-Encoding: gzip, chunked"), b"0\r\n\r\n"], (501, "bad request")),
    ],
    ids=["expectation", "expectation in pieces", "framing", "coding", "coding in pieces"],
)
async def test_what_cannot_be_taken_is_refused(sent: list[bytes], refused: tuple[int, str]) -> None:
    found, got = await outcome(*sent)
    assert found == refused
    assert got.startswith(b"HTTP/1.1 %d " % refused[0])


async def test_a_caller_that_expects_it_is_told_to_go_on() -> None:
    found, got = await outcome(request("POST", "Expect: 100-continue", "Content-Length: 4"), b"body")
    assert found == b"body"
    assert got.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 ")


async def test_a_body_that_comes_too_slowly_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_rate, "MIN_RATE_WINDOW", 0.05)
    found, got = await outcome(request("POST", "Content-Length: 4", body=b"bo"))
    assert found == (408, "too slow")
    assert got.startswith(b"HTTP/1.1 408 ")


async def test_one_that_came_whole_is_not_told_to_go_on() -> None:
    found, got = await outcome(request("POST", "Expect: 100-continue", "Content-Length: 4", body=b"body"))
    assert found == b"body"
    assert got.startswith(b"HTTP/1.1 200 ")


async def test_who_takes_it_slowly_is_not_the_callers_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_rate, "MIN_RATE_WINDOW", 0.05)
    taken: list[bytes] = []

    async def handler(received: web.BaseRequest) -> web.StreamResponse:
        async for piece in CallerBody(received, GatewayContext()):
            taken.append(piece)
            await asyncio.sleep(0.2)
        return web.Response(text="read")

    got = await exchange(handler, request("POST", "Content-Length: 4", body=b"bo"), b"dy")
    assert (b"".join(taken), got[-4:]) == (b"body", b"read")
