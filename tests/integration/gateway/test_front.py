"""What the front makes of a store that fails, of a peer that comes in pieces, and of what should not have been."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import pytest
from aiohttp import web

import oo
import oo.testing
from oo._core.pipeline import Pipeline
from oo.gateway.app import Gateway
from oo.gateway.http_server.server import Server
from oo.testing import BackgroundLoop
from tests.integration.gateway.test_gateway import ask
from tests.support.calls import unauthorized
from tests.support.faults import CLOSE, READ, Drip, head, serving
from tests.support.stores import CANARY, LenientStore, Notes
from tests.support.waiting import PATIENCE

KEY = "the-real-key"


@contextmanager
def running(store: LenientStore, notes: Notes) -> Iterator[str]:
    with BackgroundLoop() as background:
        yield background.enter(Gateway(store, audit=notes)).url


@pytest.mark.parametrize("path", ["/api/secret", "/api/env", "/api/proxy/x"])
def test_a_token_whose_thing_went_away_meanwhile_opens_nothing(path: str) -> None:
    notes = Notes()
    with running(LenientStore(), notes) as url:
        status, _, body = ask(url, "GET", path, "any")
    assert (status, body, notes.outcomes) == (401, unauthorized(path), ["gone"])


@pytest.mark.parametrize("failing", ["consume", "secret"])
def test_a_store_that_fails_is_a_500_that_quotes_nothing(failing: str, caplog: pytest.LogCaptureFixture) -> None:
    notes = Notes()
    with running(LenientStore(failing), notes) as url:
        status, headers, body = ask(url, "GET", "/api/secret", "any")
    assert (status, body, notes.outcomes) == (500, {"error": "the gateway failed"}, ["failed"])
    assert headers["X-Request-Id"] in caplog.text
    assert "RuntimeError" in caplog.text
    assert CANARY not in caplog.text


@pytest.mark.parametrize("before", [b"", b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"], ids=["alone", "in a row"])
def test_a_body_that_breaks_its_framing_later_is_answered_at_once(
    gateway: oo.testing.LocalGateway, before: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    token = gateway.route("r", "http://127.0.0.1:9")
    start = b"POST /api/proxy/x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %b\r\nTransfer-Encoding: chunked\r\n\r\n"
    with socket.create_connection(("127.0.0.1", int(gateway.url.rpartition(":")[2])), PATIENCE) as sock:
        sock.sendall(before + start % token.encode() + b"1\r\nx\r\n")
        time.sleep(0.1)  # it waits for the rest of the body
        sock.sendall(b"zz\r\n")
        got = sock.makefile("rb").read()
    assert got.count(b"HTTP/1.1 400 ") >= 1
    assert b"not framed as HTTP has it" in got
    assert got.count(b"HTTP/1.1 200 ") == (1 if before else 0)
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("script", "status", "body"),
    [
        ([READ, head(status=b"204 No Content")], 204, None),
        ([READ, head(b"Content-Length: 4"), 0.1, b"here"], 200, b"here"),
        # What may be the beginning of the credential is held back, and was none after all.
        ([READ, head(), b"the-real", 0.1, b"-thing", CLOSE], 200, b"the-real-thing"),
        ([READ, head(), Drip(b"the-real-", 0.01), CLOSE], 200, b"the-real-"),
    ],
    ids=["no body", "a body in its own packet", "a piece that is held back", "an end that is held back"],
)
def test_an_answer_in_any_pieces_arrives_whole(
    gateway: oo.testing.LocalGateway, script: Any, status: int, body: bytes | None
) -> None:
    gateway.secret("key", KEY)
    with serving(script) as upstream:
        token = gateway.route("r", upstream.url, {"X-Key": "{key}"})
        with oo.Client(gateway.url) as client, client.stream("x", token, "GET") as stream:
            assert (stream.status, b"".join(stream.iter_bytes())) == (status, body or b"")


def test_what_fails_below_the_front_is_named_by_its_type_alone(caplog: pytest.LogCaptureFixture) -> None:
    class Failing(web.Response):
        async def prepare(self, _request: Any) -> Any:
            raise RuntimeError(CANARY)

    async def broken(_request: web.BaseRequest) -> web.StreamResponse:
        return Failing()

    async def asked() -> bytes:
        server = await asyncio.get_running_loop().create_server(
            Server(broken, lambda _: web.Response(status=400)), "127.0.0.1", 0
        )
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            got = await reader.read()
            writer.close()
            return got

    assert CANARY.encode() not in asyncio.run(asked())
    assert "a connection failed: RuntimeError" in caplog.text
    assert CANARY not in caplog.text


def test_a_failure_after_an_answer_has_begun_does_not_look_like_the_rest_of_it(
    gateway: oo.testing.LocalGateway, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def begun(request: web.BaseRequest, *_rest: object, **_more: object) -> Any:
        answer = web.StreamResponse()
        await answer.prepare(request)
        await answer.write(b"half")
        raise RuntimeError(CANARY)

    monkeypatch.setattr("oo.gateway.fronts.base_url.relay", begun)
    with serving() as upstream:
        token = gateway.route("r", upstream.url)
        with socket.create_connection(("127.0.0.1", int(gateway.url.rpartition(":")[2])), PATIENCE) as sock:
            sock.sendall(b"GET /api/proxy/x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %b\r\n\r\n" % token.encode())
            got = b""
            with suppress(ConnectionError):
                while piece := sock.recv(65536):
                    got += piece
    # The reset may have overtaken it.
    assert got == b"" or got.endswith(b"\r\n\r\n4\r\nhalf\r\n")
    assert "failed: RuntimeError" in caplog.text


def test_a_middleware_may_put_a_generator_in_a_streams_place_anywhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def louder(request: oo.Request, call_next: oo.CallNext) -> oo.Response:
        response = await call_next(request)

        async def shouted(stream: Any) -> AsyncIterator[bytes]:
            async for piece in stream:
                yield piece.upper()

        assert response.stream is not None
        return response.replace(stream=shouted(response.stream))

    with serving(reply=lambda _: [head(b"Connection: close"), b"one\n", b"two\n", CLOSE]) as upstream:
        for wrap in (lambda chain: [louder, *chain], lambda chain: [*chain, louder]):
            composed = partial(lambda wrap, chain, *rest: Pipeline(wrap(chain), *rest), wrap)
            monkeypatch.setattr("oo.gateway.stack.Pipeline", composed)
            with oo.testing.gateway() as other:
                token = other.route("r", upstream.url)
                with oo.Client(other.url) as client, client.stream("x", token, "GET") as stream:
                    assert b"".join(stream.iter_bytes()) == b"ONE\nTWO\n"
