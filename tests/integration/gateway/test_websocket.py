"""WebSockets through the gateway: opened on both sides, each message masked whole, counted like other calls."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import aiohttp
import openai as sdk
import pytest
from aiohttp import WSMsgType

import oo.testing
from oo.transports.websocket import MAX_MESSAGE
from tests.support.sockets import Echoing

KEY = "the-key-of-the-api"
INJECT = {"Authorization": "Bearer {key}"}
HANDSHAKE = {
    "Connection": "keep-alive, Upgrade",
    "Upgrade": "WebSocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


@pytest.fixture
async def upstream() -> AsyncIterator[Echoing]:
    async with Echoing() as running:
        yield running


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


class Opener:
    """Opens WebSockets through a gateway, with a token for its route."""

    def __init__(self, gateway: oo.testing.LocalGateway, upstream: Echoing, http: aiohttp.ClientSession) -> None:
        gateway.secret("key", KEY)
        self.token = gateway.route("ws", upstream.url, INJECT, websocket=True)
        self.url = f"{gateway.url}/api/proxy"
        self._http = http

    def __call__(self, path: str = "/echo", token: str = "", **settings: Any) -> Any:
        headers = {"Authorization": f"Bearer {token or self.token}"}
        return self._http.ws_connect(self.url + path, headers=headers, **settings)

    async def refusal(self, path: str, token: str = "") -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {token or self.token}", **HANDSHAKE}
        async with self._http.get(self.url + path, headers=headers, allow_redirects=False) as answer:
            return answer.status, await answer.read()


@pytest.fixture
async def opened(gateway: oo.testing.LocalGateway, upstream: Echoing, http: aiohttp.ClientSession) -> Opener:
    return await asyncio.to_thread(Opener, gateway, upstream, http)


async def test_messages_pass_at_once_each_masked_whole(opened: Opener, upstream: Echoing) -> None:
    async with opened(protocols=("other", "realtime")) as ws:
        assert ws.protocol == "realtime"
        assert await ws.receive_str() == "hello Bearer ***"
        assert upstream.seen[0]["headers"]["Authorization"] == f"Bearer {KEY}"
        for text in ("", "plain", f"a {KEY} b", "\N{SNOWMAN}"):
            await ws.send_str(text)
            assert await ws.receive_str() == text.replace(KEY, "***")
        for data in (b"", b"\x00\xff" * 200_000, b"<" + KEY.encode() + b">"):
            await ws.send_bytes(data)
            assert await ws.receive_bytes() == data.replace(KEY.encode(), b"***")


async def test_a_close_of_the_upstreams_reaches_the_caller(opened: Opener) -> None:
    async with opened() as ws:
        await ws.receive()
        await ws.send_str("bye")
        message = await ws.receive()
        assert (message.type, message.data, message.extra) == (WSMsgType.CLOSE, 4001, "so long")


async def test_a_close_of_the_callers_reaches_the_upstream(opened: Opener, upstream: Echoing) -> None:
    async with opened() as ws:
        await ws.receive()
        await ws.close(code=4005)
    assert await asyncio.wait_for(upstream.closed.get(), 10) == 4005


async def test_an_upstream_that_breaks_off_is_a_bad_gateway(opened: Opener) -> None:
    async with opened() as ws:
        await ws.receive()
        await ws.send_str("drop")
        assert (await ws.receive()).data == 1014


async def test_a_caller_who_vanishes_ends_the_upstreams_end(opened: Opener, upstream: Echoing) -> None:
    ws = await opened()
    await ws.receive()
    ws._response.close()
    assert await asyncio.wait_for(upstream.closed.get(), 10) in (1001, 1006)


async def test_a_message_that_is_too_large_ends_it(opened: Opener, upstream: Echoing) -> None:
    async with opened() as ws:
        await ws.receive()
        with suppress(ConnectionError):  # it may be over before all was sent
            await ws.send_bytes(bytes(MAX_MESSAGE + 1))
        assert (await ws.receive()).type is not WSMsgType.BINARY
    assert await asyncio.wait_for(upstream.closed.get(), 10) in (1001, 1006)


@pytest.mark.parametrize(("path", "status", "body"), [("/refused", 403, "no such model"), ("/moved", 302, "")])
async def test_what_is_no_switch_comes_back_as_it_is(opened: Opener, path: str, status: int, body: str) -> None:
    answered, came = await opened.refusal(path)
    assert answered == status
    assert body.encode() in came


async def test_an_upstream_that_is_not_there_is_a_502(
    opened: Opener, gateway: oo.testing.LocalGateway, unused_tcp_port: int
) -> None:
    token = await asyncio.to_thread(gateway.route, "nobody", f"http://127.0.0.1:{unused_tcp_port}", websocket=True)
    assert (await opened.refusal("/echo", token))[0] == 502


async def test_a_route_without_it_says_so_and_costs_nothing(
    opened: Opener, gateway: oo.testing.LocalGateway, upstream: Echoing
) -> None:
    await asyncio.to_thread(gateway.route, "plain", upstream.url)
    token = await asyncio.to_thread(lambda: gateway.issue("route", "plain", uses=1))
    for _ in range(2):
        status, body = await opened.refusal("/echo", token)
        assert (status, b"--websocket" in body, upstream.seen) == (501, True, [])


async def test_a_websocket_costs_one_use(opened: Opener, gateway: oo.testing.LocalGateway) -> None:
    token = await asyncio.to_thread(lambda: gateway.issue("route", "ws", uses=1))
    async with opened(token=token) as ws:
        for _ in range(3):
            await ws.receive_str()
            await ws.send_str("again")
    assert (await opened.refusal("/echo", token))[0] == 401


async def test_the_connection_of_a_refused_handshake_goes_on(
    gateway: oo.testing.LocalGateway, upstream: Echoing
) -> None:
    def refused_then_asked() -> list[bytes]:
        token = gateway.route("plain", upstream.url)
        host, port = gateway.url.removeprefix("http://").split(":")
        lines = [f"{name}: {value}" for name, value in {"Authorization": f"Bearer {token}", **HANDSHAKE}.items()]
        asking = "\r\n".join(["GET /api/proxy/echo HTTP/1.1", "Host: h", *lines, "", ""]).encode()
        with socket.create_connection((host, int(port)), 10) as sock:
            came = []
            for request in (asking, b"GET /health HTTP/1.1\r\nHost: h\r\n\r\n"):
                sock.sendall(request)
                came.append(sock.recv(1 << 16))
        return came

    first, second = await asyncio.to_thread(refused_then_asked)
    assert first.startswith(b"HTTP/1.1 501")
    assert second.startswith(b"HTTP/1.1 200")


async def test_the_realtime_client_of_openai_works(opened: Opener, upstream: Echoing) -> None:
    client = sdk.AsyncOpenAI(base_url=opened.url, api_key=opened.token)
    async with client, client.realtime.connect(model="gpt-realtime") as connection:
        assert await connection.recv_bytes() == b"hello Bearer ***"
        await connection.send({"type": "response.create"})
        assert json.loads(await connection.recv_bytes()) == {"type": "response.create"}
    assert upstream.seen[0]["path"] == "/realtime?model=gpt-realtime"


@pytest.mark.parametrize(
    "fields",
    [
        {"Sec-WebSocket-Version": "12"},
        {"Sec-WebSocket-Version": ""},
        {"Sec-WebSocket-Key": "no base64!"},
        {"Sec-WebSocket-Key": "c2hvcnQ="},
    ],
)
async def test_a_handshake_that_is_none_costs_nothing(
    opened: Opener,
    gateway: oo.testing.LocalGateway,
    upstream: Echoing,
    http: aiohttp.ClientSession,
    fields: dict[str, str],
) -> None:
    token = await asyncio.to_thread(lambda: gateway.issue("route", "ws", uses=1, concurrency=1))
    headers = {"Authorization": f"Bearer {token}", **HANDSHAKE, **fields}
    for _ in range(2):
        async with http.get(f"{opened.url}/echo", headers=headers) as answer:
            assert (answer.status, "RFC 6455" in await answer.text(), upstream.seen) == (400, True, [])
    async with opened(token=token) as ws:
        assert await ws.receive_str() == "hello Bearer ***"


async def test_a_token_among_the_protocols_is_taken_and_not_logged(
    opened: Opener, upstream: Echoing, http: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    offers = ("other", f"openai-insecure-api-key.{opened.token}")
    async with http.ws_connect(f"{opened.url}/echo", protocols=offers) as ws:
        assert await ws.receive_str() == "hello Bearer ***"
    assert upstream.seen[0]["headers"]["Sec-WebSocket-Protocol"] == "other"
    assert opened.token not in caplog.text


@pytest.mark.parametrize(
    ("origin", "status"), [("https://evil.example", 403), ("https://good.example", 101), ("", 101)]
)
async def test_a_page_of_another_origin_opens_none_where_the_route_names_some(
    opened: Opener,
    gateway: oo.testing.LocalGateway,
    upstream: Echoing,
    http: aiohttp.ClientSession,
    origin: str,
    status: int,
) -> None:
    cors = ("https://good.example",)
    token = await asyncio.to_thread(lambda: gateway.route("page", upstream.url, websocket=True, cors=cors))
    headers = {"Authorization": f"Bearer {token}", **HANDSHAKE, **({"Origin": origin} if origin else {})}
    async with http.get(f"{opened.url}/echo", headers=headers) as answer:
        assert (answer.status, len(upstream.seen)) == (status, int(status == 101))
