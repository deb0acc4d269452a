"""The transport that opens WebSockets, without a gateway about it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import pytest
from aiohttp import web

from oo._http.body import Body
from oo._http.headers import Headers
from oo._http.message import Message
from oo._http.request import Request
from oo.exceptions import DoubleOError
from oo.transports.websocket import WebSocketTransport
from tests.support.sockets import Echoing


@pytest.fixture
async def upstream() -> AsyncIterator[Echoing]:
    async with Echoing() as running:
        yield running


@pytest.fixture
async def transport() -> AsyncIterator[WebSocketTransport]:
    made = WebSocketTransport()
    yield made
    await made.close()


def asking(url: str, *messages: Message) -> Request:
    async def said() -> AsyncIterator[bytes]:
        for message in messages:
            yield message
        await asyncio.Event().wait()  # the caller stays

    headers = Headers({"Sec-WebSocket-Protocol": "a, chat", "Sec-WebSocket-Extensions": "x", "X-Mine": "1"})
    return Request("GET", url, headers, Body(said()), stream_response=True)


async def test_the_messages_of_the_body_go_up_and_those_of_the_stream_come_back(
    upstream: Echoing, transport: WebSocketTransport
) -> None:
    sent = [Message("text", b"a"), Message("binary", b"b"), Message("text", b"bye")]
    response = await transport.upgrade(asking(f"{upstream.url}/echo", *sent))
    assert (response.status, response.headers.get("Sec-WebSocket-Protocol")) == (101, "chat")
    assert response.stream is not None
    came = [message async for message in response.stream]
    assert [getattr(message, "opcode", None) for message in came] == ["text", "text", "binary", "close"]
    assert came[1:] == [b"a", b"b", (4001).to_bytes(2, "big") + b"so long"]
    assert upstream.seen[0]["headers"]["X-Mine"] == "1"
    assert "Sec-WebSocket-Extensions" not in upstream.seen[0]["headers"]


async def test_another_answer_is_one_as_send_gives(upstream: Echoing, transport: WebSocketTransport) -> None:
    response = await transport.upgrade(asking(f"{upstream.url}/refused"))
    assert (response.status, (await response.buffered()).json()) == (403, {"error": "no such model"})


async def test_a_websocket_that_breaks_off_is_an_error(upstream: Echoing, transport: WebSocketTransport) -> None:
    response = await transport.upgrade(asking(f"{upstream.url}/echo", Message("text", b"drop")))
    assert response.stream is not None
    stream = aiter(response.stream)
    assert await anext(stream) == b"hello None"
    with pytest.raises(DoubleOError):
        await anext(stream)


async def test_a_server_that_is_not_there_is_an_error(transport: WebSocketTransport, unused_tcp_port: int) -> None:
    with pytest.raises(DoubleOError) as caught:
        await transport.upgrade(asking(f"http://127.0.0.1:{unused_tcp_port}/"))
    assert caught.value.reason == "connection"


async def test_one_that_is_left_sends_what_was_said_and_ends(upstream: Echoing, transport: WebSocketTransport) -> None:
    response = await transport.upgrade(asking(f"{upstream.url}/echo", Message.closing(4005)))
    response.abort()
    assert await upstream.closed.get() == 4005


async def test_one_on_a_unix_socket_is_opened(transport: WebSocketTransport, tmp_path: Path) -> None:
    upstream, path = Echoing(), tmp_path / "Oo upstream.sock"
    runner = web.ServerRunner(web.Server(upstream.handle, access_log=None), shutdown_timeout=1)
    await runner.setup()
    await web.UnixSite(runner, path).start()
    response = await transport.upgrade(asking(f"http+unix://{quote(str(path), safe='')}/echo", Message("text", b"bye")))
    assert response.stream is not None
    assert [getattr(message, "opcode", None) async for message in response.stream] == ["text", "close"]
    assert upstream.seen[0]["headers"]["Host"] == "localhost"
    await runner.cleanup()
