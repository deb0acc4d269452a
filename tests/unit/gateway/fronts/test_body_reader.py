from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web

from oo.gateway.errors import GatewayError
from oo.gateway.fronts import body_reader
from oo.gateway.fronts.body_reader import read_body
from oo.gateway.http_server import data_rate
from tests.support.exchanging import exchange, request

CHUNKED = "Transfer-Encoding: chunked"


async def outcome(*sent: bytes) -> tuple[Any, bytes]:
    """What reading the body of a request gives, and what its sender gets."""
    found: list[Any] = []

    async def handler(received: web.BaseRequest) -> web.StreamResponse:
        try:
            found.append(await read_body(received))
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
        ([request("POST", "Content-Length: 5", body=b"large")], (413, "too large")),
        ([request("POST", "Content-Length: 5"), b"lar", b"ge"], (413, "too large")),
        ([request("POST", CHUNKED, body=b"5\r\nlarge\r\n0\r\n\r\n")], (413, "too large")),
        ([request("POST", CHUNKED), b"3\r\nlar\r\n", b"2\r\nge\r\n", b"0\r\n\r\n"], (413, "too large")),
        ([request("POST", "Expect: wonders", "Content-Length: 4", body=b"body")], (417, "bad request")),
        ([request("POST", CHUNKED), b"1\r\nx\r\n", b"zz\r\n"], (400, "bad request")),
    ],
    ids=["large", "large in pieces", "large chunked", "large chunked in pieces", "expectation", "framing"],
)
async def test_what_cannot_be_taken_is_refused(
    sent: list[bytes], refused: tuple[int, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(body_reader, "MAX_BODY", 4)
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
