"""Streams through the gateway: piece by piece, masked, bounded, and over when the caller is gone."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import openai as sdk
import pytest
from aiohttp import web

import oo
import oo.testing
from oo._http.response import ByteStream
from oo.gateway.middleware.mask import MaskResponse
from oo.testing import BackgroundLoop
from tests.integration.gateway.test_gateway import ask
from tests.support.faults import CLOSE, READ, SILENCE, head, serving
from tests.support.upstream import OpenAI
from tests.support.waiting import PATIENCE, on_time

KEY = "the-real/key+of the API"


class Scripted(OpenAI):
    """An upstream whose answer is a function's."""

    def __init__(self, write: Callable[[web.StreamResponse], Awaitable[None]]) -> None:
        super().__init__()
        self._write = write

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        await request.read()
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await self._write(response)
        return response


def test_pieces_pass_as_they_come(gateway: oo.testing.LocalGateway) -> None:
    go = threading.Event()

    async def write(response: web.StreamResponse) -> None:
        await response.write(b"data: 1\n\n")
        # The second piece is sent when the first has arrived: were it held back, this would never end.
        assert await asyncio.to_thread(go.wait, 5)
        await response.write(b"data: 2\n\n")

    with BackgroundLoop() as background:
        upstream = background.enter(Scripted(write))
        token = gateway.route("api", upstream.url)
        with oo.Client(gateway.url) as client, client.stream("v1/x", token) as response:
            events = response.iter_events()
            assert next(events).data == "1"
            go.set()
            assert [event.data for event in events] == ["2"]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_the_credential_is_masked_across_the_borders_of_pieces(gateway: oo.testing.LocalGateway, size: int) -> None:
    body = f"before {KEY} between {json.dumps(KEY)} after {KEY[:-1]}".encode()

    async def write(response: web.StreamResponse) -> None:
        for start in range(0, len(body), size):
            await response.write(body[start : start + size])
            await asyncio.sleep(0)

    gateway.secret("key", KEY)
    with BackgroundLoop() as background:
        upstream = background.enter(Scripted(write))
        token = gateway.route("api", upstream.url, {"X-Key": "{key}"})
        with oo.Client(gateway.url) as client, client.stream("v1/x", token) as response:
            read = b"".join(response.iter_bytes())
    assert read.decode() == f'before *** between "***" after {KEY[:-1]}'


def test_a_caller_that_leaves_cancels_the_upstream_call(gateway: oo.testing.LocalGateway) -> None:
    with serving([READ, head(b"Transfer-Encoding: chunked"), b"3\r\none\r\n", SILENCE]) as upstream:
        token = gateway.route("api", upstream.url)
        with oo.Client(gateway.url) as client:
            with client.stream("v1/x", token) as response:
                assert next(response.iter_bytes()) == b"one"
            assert upstream.until(left=1)


@pytest.mark.parametrize(
    "script",
    [
        [READ, head(b"Content-Length: 9"), b"short", CLOSE],
        [READ, head(b"Transfer-Encoding: chunked"), b"5\r\nshort\r\n", CLOSE],
    ],
    ids=["length", "chunked"],
)
def test_half_an_answer_never_looks_like_a_whole_one(gateway: oo.testing.LocalGateway, script: Any) -> None:
    with serving(script) as upstream:
        token = gateway.route("api", upstream.url)
        with oo.Client(gateway.url) as client, pytest.raises(oo.ProxyError) as caught:
            client.proxy("v1/x", token)
    assert caught.value.reason in ("connection", "status")


def test_an_upstream_that_stalls_in_the_middle_breaks_off_at_the_routes_timeout(
    gateway: oo.testing.LocalGateway,
) -> None:
    with serving([READ, head(b"Transfer-Encoding: chunked"), b"3\r\none\r\n", SILENCE]) as upstream:
        token = gateway.route("api", upstream.url, timeout=0.2)

        def call() -> None:
            with oo.Client(gateway.url) as client, client.stream("v1/x", token) as response:
                pieces = response.iter_bytes()
                assert next(pieces) == b"one"
                with pytest.raises(oo.ProxyError):
                    next(pieces)

        on_time(call, 0.2)


def test_a_streamed_call_with_a_key_is_made_once_and_replayed(gateway: oo.testing.LocalGateway, openai: OpenAI) -> None:
    token = gateway.route("openai", openai.url)
    body = json.dumps({"model": "m", "messages": [], "stream": True}).encode()
    answers = [
        ask(gateway.url, "POST", "/api/proxy/v1/chat/completions", token, body, Idempotency_Key="k")[::2]
        for _ in range(2)
    ]
    assert answers[0] == answers[1]
    assert answers[0][1].endswith(b"data: [DONE]\n\n")
    assert len(openai.seen) == 1


def test_the_openai_sdk_streams(gateway: oo.testing.LocalGateway, openai: OpenAI) -> None:
    gateway.secret("key", KEY.replace(" ", "-"))
    token = gateway.route("openai", openai.url, {"Authorization": "Bearer {key}"})
    with sdk.OpenAI(base_url=f"{gateway.url}/api/proxy/v1", api_key=token) as client:
        stream = client.chat.completions.create(model="m", messages=[{"role": "user", "content": "Hi"}], stream=True)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == "Hello to you."
    assert openai.keys == [f"Bearer {KEY.replace(' ', '-')}"]


async def test_the_openai_sdk_streams_under_asyncio(gateway: oo.testing.LocalGateway, openai: OpenAI) -> None:
    token = gateway.route("openai", openai.url)
    async with sdk.AsyncOpenAI(base_url=f"{gateway.url}/api/proxy/v1", api_key=token) as client:
        stream = await client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "Hi"}], stream=True
        )
        assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == "Hello to you."


def test_a_middleware_may_put_an_async_generator_in_the_streams_place(monkeypatch: pytest.MonkeyPatch) -> None:
    handle = MaskResponse.__call__

    async def outside(mask: MaskResponse, request: oo.Request, call_next: oo.CallNext) -> oo.Response:
        response = await handle(mask, request, call_next)
        assert response.stream is not None
        return response.replace(stream=louder(response.stream))

    async def louder(stream: ByteStream) -> AsyncIterator[bytes]:
        async for piece in stream:
            yield piece.upper()

    monkeypatch.setattr(MaskResponse, "__call__", outside)
    script = [READ, head(b"Content-Length: 16"), b"not the-", 0.05, b"real-key", CLOSE]
    with oo.testing.gateway() as gateway, serving(script) as upstream:
        gateway.secret("key", "the-real-key")
        token = gateway.route("api", upstream.url, {"X-Key": "{key}"})
        status, _, body = ask(gateway.url, "POST", "/api/proxy/v1/x", token, b"{}", Idempotency_Key="k")
        again = ask(gateway.url, "POST", "/api/proxy/v1/x", token, b"{}", Idempotency_Key="k")
    assert (status, body) == (again[0], again[2]) == (200, b"NOT ***")
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("stalls", [True, False])
def test_a_caller_who_stalls_gets_no_beginning_of_a_secret_that_nothing_says_is_the_end(
    gateway: oo.testing.LocalGateway, stalls: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not stalls:
        monkeypatch.setattr("oo.gateway.middleware.mask._STALL", PATIENCE)  # this machine may be busy
    gateway.secret("key", KEY)
    begun = KEY[:-4].encode()
    cut = [READ, b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n", b"line\n" * (2 << 20), begun, CLOSE]
    with serving(cut) as upstream:
        token = gateway.route("api", upstream.url, {"Authorization": "Bearer {key}"})
        address, answer = urlsplit(gateway.url), bytearray()
        with socket.create_connection((str(address.hostname), int(address.port or 0)), PATIENCE) as caller:
            fields = f"Host: x\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\r\n"
            caller.sendall(f"GET /api/proxy/x HTTP/1.1\r\n{fields}".encode())
            assert upstream.until(requests=1)
            time.sleep(1.0 if stalls else 0)
            with suppress(ConnectionError):  # it breaks off
                while piece := caller.recv(1 << 20):
                    answer += piece
    assert answer.count(b"line") > 1_000_000
    assert answer.endswith(b"\r\n0\r\n\r\n") is not stalls
    assert (begun in answer) is not stalls
