"""What of a CONNECT is wrong before anybody is asked; how one that is opened goes on is seen in
tests/integration/forward_proxy."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web

from oo._http.body import Body
from oo._http.request import Request
from oo._http.response import Response
from oo.exceptions import DoubleOError
from oo.gateway.context import GatewayContext
from oo.gateway.fronts.connect import connect, proxy_tokens
from oo.gateway.http_server.server import Server
from oo.gateway.listening import bound
from tests.unit.gateway.fronts.test_forward_proxy import received

Answer = Callable[[Request], Response]


class Answering:
    """A stack that answers by a function, and is asked to refuse what is malformed."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer

    async def handle(self, request: Request) -> Response:
        await asyncio.sleep(0.05)
        return self.answer(request)

    def refuse(self, request: Request) -> Response:
        said = request.context.malformed  # type: ignore[attr-defined]
        return Response(400, body=b'{"error": "%b"}' % said.encode(), request=request)


@pytest.mark.parametrize(
    ("fields", "tokens"),
    [
        ([("Proxy-Authorization", "Bearer a,b")], ("a", "b")),
        ([("Proxy-Authorization", "Bearer a"), ("Proxy-Authorization", "Bearer a")], ()),
        ([], ()),
    ],
)
def test_one_credential_is_shown(fields: list[tuple[str, str]], tokens: tuple[str, ...]) -> None:
    assert proxy_tokens(received("/", fields)) == tokens


async def spoken(answer: Answer, *sent: bytes, pause: float = 0.0) -> bytes:
    """What a server that answers so sends to what was sent."""
    stack = Answering(answer)

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        return await connect(stack, request, GatewayContext())  # type: ignore[arg-type]

    server = Server(handle, lambda *_: web.Response(status=400))
    sock = bound("127.0.0.1", 0)
    await server.listen(sock)
    reader, writer = await asyncio.open_connection(*sock.getsockname())
    for piece in sent:
        writer.write(piece)
        await asyncio.sleep(pause)
    data = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    await server.end()
    await asyncio.sleep(0.05)  # in which the loop closes what was cut
    return data


CONNECT = b"CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n"


def answer(status: int, body: bytes = b"", stream: Any = None) -> Answer:
    return lambda request: Response(status, body=body, request=request, stream=stream)


async def test_a_reason_is_what_a_phrase_may_hold() -> None:
    said = await spoken(answer(403, '{"error": "no\\r\\nX: y \N{SNOWMAN}"}'.encode()), CONNECT)
    assert said.startswith(b"HTTP/1.1 403 no??X: y ?\r\n")
    assert b"\r\nX: y" not in said


async def test_bytes_that_come_while_it_is_decided_are_too_early() -> None:
    closed: list[str] = []

    async def pieces() -> AsyncIterator[bytes]:
        yield b"never"

    stream = Body(pieces(), abort=lambda: closed.append("left"))
    said = await spoken(answer(200, stream=stream), CONNECT, b"\x16", pause=0.01)
    assert said.startswith(b"HTTP/1.1 400 nothing may come behind a CONNECT before its answer\r\n")
    assert closed == ["left"]


@pytest.mark.parametrize("breaks", [False, True])
async def test_what_comes_from_the_other_end_is_sent_until_that_closes(breaks: bool) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"one"
        yield b"two"
        if breaks:
            raise DoubleOError("it broke off", reason="connection")

    said = await spoken(answer(200, stream=Body(pieces())), CONNECT)
    assert said == b"HTTP/1.1 200 Connection established\r\n\r\nonetwo"


async def test_what_the_caller_sends_waits_for_the_other_end() -> None:
    got: list[int] = []

    async def pieces(body: Body) -> AsyncIterator[bytes]:
        yield b"go"
        size = 0
        async for piece in body:
            await asyncio.sleep(0.001)
            size += len(piece)
            got.append(len(piece))
            if size >= 1 << 20:
                break
        yield b"%d" % size

    def echo(request: Request) -> Response:
        assert isinstance(request.body, Body)
        return Response(200, request=request, stream=Body(pieces(request.body)))

    said = await spoken(echo, CONNECT, b"", b"x" * (1 << 20), pause=0.2)
    assert said.endswith(b"\r\n\r\ngo1048576")
