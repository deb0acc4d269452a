"""A request that goes around aiohttp's session is, byte for byte, what a session sends; and its connection is kept, or
closed, as the answer says."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import aiohttp
import pytest
from yarl import URL

import oo
from oo._http.body import Body
from oo._http.headers import Headers
from oo.transports import _aiohttp_patches as patches
from oo.transports.aiohttp import AiohttpTransport
from oo.transports.direct import LARGEST, message_of
from tests.support.faults import CLOSE, READ, SILENCE, Endless, answer, head, serving

REQUESTS = [
    ("GET", "/", [], None),
    ("GET", "/a/b?c=d&e=%20f", [("Authorization", "Bearer x")], None),
    ("GET", "/empty", [], b""),
    ("POST", "/", [("Content-Type", "application/json")], b'{"a": 1}'),
    ("POST", "/none", [], None),
    ("PUT", "/", [("X-A", "1"), ("X-A", "2"), ("x-b", "ü")], b"\x00" * LARGEST),
    ("DELETE", "/", [("accept", "text/plain"), ("USER-AGENT", "me"), ("X-Last", "1")], None),
    ("OPTIONS", "/%25", [("Accept-Encoding", "identity"), ("Cookie", "a=b"), ("Host", "other:1")], None),
    ("HEAD", "/", [("X-%s", "100%"), ("X-Empty", "")], None),
]


@pytest.mark.parametrize(("method", "path", "fields", "body"), REQUESTS)
async def test_the_bytes_are_those_of_a_session(
    method: str, path: str, fields: list[tuple[str, str]], body: bytes | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    for tried in (True, False):
        monkeypatch.setattr(patches, "_TRIED", tried)
        transport = AiohttpTransport()
        with serving(reply=lambda _request: head(b"Content-Length: 0")) as server:
            response = await transport.send(oo.Request(method, server.url + path, Headers(fields), body))
            assert response.status == 200
            (raw,) = server.requests
            seen.append(raw.replace(URL(server.url).authority.encode(), b"HOST"))
        await transport.close()
    assert seen[0] == seen[1]


@pytest.mark.parametrize(
    ("url", "fields", "body"),
    [
        ("http://user:password@x/", [], None),
        ("http://x/", [("Expect", "100-continue")], b"x"),
        ("http://x/", [("transfer-encoding", "chunked")], b"x"),
        ("http://x/", [("Content-Length", "1")], b"x"),
        ("http://x/", [("Connection", "close")], None),
        ("http://x/", [], b"x" * (LARGEST + 1)),
        ("http://x/", [], Body(lambda: pieces())),
        ("http://x/a b", [], None),
        ("http://x/ü", [], None),
        ("http://x/\r\nX: y", [], None),
    ],
)
def test_what_a_session_must_see_to_is_left_to_it(
    url: str, fields: list[tuple[str, str]], body: bytes | Body | None
) -> None:
    assert message_of("POST", URL(url, encoded=True), fields, body) is None


async def pieces() -> AsyncIterator[bytes]:
    yield b"x"


@pytest.mark.parametrize(
    ("answers", "connections"),
    [
        ([READ, answer(), READ, answer()], 1),
        ([READ, b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n" + answer(), READ, answer()], 1),
        ([READ, answer(b"{}", b"Connection: close"), CLOSE], 2),
        ([READ, b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}", CLOSE], 2),
        ([READ, b"HTTP/1.1 200 OK\r\n\r\n{}", CLOSE], 2),
        ([READ, b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", SILENCE], 2),
    ],
    ids=["kept", "after hints", "closed", "1.0", "without a length", "switched"],
)
async def test_a_connection_is_kept_or_not_as_the_answer_says(answers: list[bytes | str], connections: int) -> None:
    transport = AiohttpTransport()
    with serving(answers) as server:
        for _ in range(2):
            response = await transport.send(oo.Request("GET", server.url))
            assert response.status in (101, 200)
        assert server.connections == connections
        await transport.close()


async def test_a_head_must_come_in_time_however_it_drips() -> None:
    transport = AiohttpTransport()
    with serving([READ, b"HTTP/1.1 200 OK\r\n", *[b"X-A: b\r\n", 0.05] * 60, b"Content-Length: 0\r\n\r\n"]) as server:
        with pytest.raises(oo.DoubleOError) as caught:
            await transport.send(oo.Request("GET", server.url, timeout=0.3))
        assert caught.value.reason == "timeout"
        await transport.close()


async def test_a_storm_of_hints_ends_in_time() -> None:
    transport = AiohttpTransport()
    with serving(reply=lambda _request: [Endless(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 99)]) as server:
        began = time.monotonic()
        with pytest.raises(oo.DoubleOError) as caught:
            await transport.send(oo.Request("GET", server.url, timeout=0.3))
        assert caught.value.reason == "timeout"
        assert time.monotonic() - began < 8  # what came in time is read; what still comes is not
        await transport.close()


async def test_a_mocked_session_sees_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    real = aiohttp.ClientSession._request

    async def mocked(self: aiohttp.ClientSession, method: str, url: URL, **settings: object) -> aiohttp.ClientResponse:
        seen.append(method)
        return await real(self, method, url, **settings)  # type: ignore[arg-type]  # whatever it was given

    transport = AiohttpTransport()
    with serving(reply=lambda _request: answer()) as server:
        await transport.send(oo.Request("GET", server.url))
        monkeypatch.setattr(aiohttp.ClientSession, "_request", mocked)
        await transport.send(oo.Request("PUT", server.url))
    assert seen == ["PUT"]
    await transport.close()


async def test_a_connection_of_a_stream_that_is_left_is_closed() -> None:
    transport = AiohttpTransport()
    with serving([READ, head(b"Content-Length: 9") + b"x", SILENCE]) as server:
        response = await transport.send(oo.Request("GET", server.url, stream_response=True))
        assert response.abort()
        assert await asyncio.to_thread(server.until, left=1)
        await transport.close()
