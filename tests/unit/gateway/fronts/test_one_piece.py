"""An answer in one piece is, byte for byte, what aiohttp's own Response makes of it."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web
from multidict import CIMultiDict

from oo.gateway.fronts import one_piece
from oo.gateway.fronts.one_piece import OnePiece
from tests.support.exchanging import exchange, request

DATE = "Thu, 26 Nov 2026 08:49:37 GMT"

REQUESTS = {
    "1.1": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "1.1 closing": b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    "1.0": b"GET / HTTP/1.0\r\n\r\n",
    "1.0 kept": b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "HEAD": b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n",
    "POST": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}",
}
ANSWERS: dict[str, tuple[int, list[tuple[str, str]], bytes]] = {
    "a body": (200, [("Content-Type", "text/plain")], b"hello"),
    "without a type": (200, [], b"\x00\xff"),
    "nothing": (200, [("X-A", "1"), ("X-A", "2"), ("x-ü", "é")], b""),
    "no content": (204, [("Content-Length", "0")], b""),
    "not modified": (304, [("ETag", '"x"')], b""),
    "a length of its own": (200, [("Content-Length", "0")], b""),
    "a connection of its own": (200, [("Connection", "close")], b"x"),
    "a status of its own": (799, [], b"x"),
    "an error": (503, [("Retry-After", "1"), ("Content-Type", "application/json")], b"{}"),
}


async def sent(raw: bytes, make: Any) -> bytes:
    """All that comes back for a request, and for one behind it, which is answered if the connection was kept."""

    async def handler(received: web.BaseRequest) -> web.StreamResponse:
        response: web.StreamResponse = web.Response(text="end") if received.path == "/end" else make()
        return response

    # Nothing may follow a request that closes (RFC 9112, 9.6).
    is_kept = b"keep-alive" in raw or (b"HTTP/1.1" in raw and b"close" not in raw)
    return await exchange(handler, raw + request(path="/end") if is_kept else raw)


@pytest.mark.parametrize("request_", REQUESTS)
@pytest.mark.parametrize("answer", ANSWERS)
async def test_the_bytes_are_those_of_aiohttp(request_: str, answer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    status, pairs, body = ANSWERS[answer]
    monkeypatch.setattr(one_piece, "_date", lambda _second: DATE)

    def fields() -> CIMultiDict[str]:
        return CIMultiDict([*pairs, ("Server", "x"), ("Date", DATE)])

    ours = await sent(REQUESTS[request_], lambda: OnePiece(status, fields(), body))
    theirs = await sent(REQUESTS[request_], lambda: web.Response(status=status, headers=fields(), body=body or None))
    assert _parts(ours) == _parts(theirs)


def _parts(raw: bytes) -> tuple[bytes, list[bytes], bytes]:
    head, _, body = raw.partition(b"\r\n\r\n")
    line, *fields = head.split(b"\r\n")
    body, _, end = body.partition(b"HTTP/1.1 200 OK\r\n")
    return line, sorted(fields), body + end[-3:]


@pytest.mark.parametrize("value", ["a\r\nX: y", "a\nb", "a\rb", "a\0b"])
async def test_a_value_that_would_end_the_line_is_not_sent(value: str) -> None:
    raw = await sent(REQUESTS["1.1"], lambda: OnePiece(200, CIMultiDict({"X-A": value}), b"x"))
    assert raw.startswith(b"HTTP/1.1 500 ") or raw == b""
    assert b"X: y" not in raw


async def test_a_date_is_that_of_its_second() -> None:
    raw = await sent(REQUESTS["1.1"], lambda: OnePiece(200, CIMultiDict(), b"x"))
    assert b"\r\nDate: " in raw
    assert one_piece._date(0) == "Thu, 01 Jan 1970 00:00:00 GMT"


async def test_a_caller_who_has_left_is_told_by_an_error() -> None:
    with pytest.raises(ConnectionResetError):
        await OnePiece(200, CIMultiDict(), b"x").write_eof()
