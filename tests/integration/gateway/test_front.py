"""What the front makes of a store that fails, of a peer that comes in pieces, and of what should not have been."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Literal

import pytest
from aiohttp import web

import oo
import oo.testing
from oo.gateway import idempotency
from oo.gateway.app import Gateway
from oo.gateway.background import BackgroundLoop
from oo.gateway.context import GatewayContext
from oo.gateway.egress import PublicResolver
from oo.gateway.errors import Conflict
from oo.gateway.http_server.server import Server
from oo.gateway.idempotency import claimed
from oo.gateway.models import Grant, Kind, Route, StoredResponse
from oo.gateway.upstream import SwapCredential, pieces_of
from tests.integration.gateway.test_gateway import ask
from tests.support.faults import CLOSE, READ, Drip, head, serving
from tests.support.waiting import PATIENCE

CANARY = "canary-in-an-error-77"
KEY = "the-real-key"


class Odd:
    """A store that lets everybody in, and then has nothing; or fails where it is to."""

    def __init__(self, failing: str = "", claim: Any = None) -> None:
        self.failing = failing
        self.claiming = claim
        self.settled: list[StoredResponse | None] = []

    async def redeem(self, token: str, kind: Kind, spend: bool = True) -> Grant:
        self._check("redeem")
        return Grant("id", kind, "gone")

    async def secret(self, name: str) -> str | None:
        self._check("secret")
        return None

    async def environment(self, name: str) -> dict[str, str] | None:
        return None

    async def route(self, name: str) -> Route | None:
        return None

    async def claim(
        self, token_id: str, key: str, digest: bytes, seconds: float
    ) -> StoredResponse | float | Literal["taken", "other"]:
        found: float | Literal["taken", "other"] = await self.claiming()
        return found

    async def renew(self, token_id: str, key: str, until: float, seconds: float) -> float | None:
        return until

    async def settle(self, token_id: str, key: str, until: float, result: StoredResponse | None) -> None:
        self.settled.append(result)

    def _check(self, what: str) -> None:
        if what == self.failing:
            raise RuntimeError(CANARY)


class Notes:
    """An audit."""

    def __init__(self) -> None:
        self.outcomes: list[str] = []

    def write(self, **note: Any) -> None:
        self.outcomes.append(note["outcome"])


@contextmanager
def running(store: Odd, notes: Notes) -> Iterator[str]:
    with BackgroundLoop() as background:
        yield background.enter(Gateway(store, audit=notes)).url


@pytest.mark.parametrize("path", ["/api/secret", "/api/env", "/api/proxy/x"])
def test_a_token_whose_thing_went_away_meanwhile_opens_nothing(path: str) -> None:
    notes = Notes()
    with running(Odd(), notes) as url:
        status, _, body = ask(url, "GET", path, "any")
    assert (status, body, notes.outcomes) == (401, {"error": "the token was not accepted"}, ["gone"])


@pytest.mark.parametrize("failing", ["redeem", "secret"])
def test_a_store_that_fails_is_a_500_that_quotes_nothing(failing: str, caplog: pytest.LogCaptureFixture) -> None:
    notes = Notes()
    with running(Odd(failing), notes) as url:
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


async def test_a_masked_answer_reads_as_any_other() -> None:
    class Store(Odd):
        async def secret(self, name: str) -> str | None:
            return KEY

    route = Route("r", "http://x", {"X-Key": "{key}"})
    request = oo.Request("GET", "http://x/", context=GatewayContext(route))
    for scripted in (oo.testing.Streamed([b"a the-re", b"al-key"]), b"a the-real-key"):
        transport = oo.testing.MockTransport([scripted])

        async def call_next(request: oo.Request, transport: Any = transport) -> oo.Response:
            return await transport.send(request.replace(stream_response=True))

        response = await SwapCredential(Store())(request, call_next)  # type: ignore[arg-type]  # as much of one as it asks for
        assert (await response.buffered()).body == b"a ***"


def test_an_answer_that_was_not_masked_is_not_passed_on() -> None:
    with pytest.raises(TypeError, match="SwapCredential"):
        pieces_of(oo.testing.Streamed([b"x"]))


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


async def test_a_claim_that_comes_after_its_caller_left_is_given_back() -> None:
    begun, go = asyncio.Event(), asyncio.Event()

    async def claim() -> float:
        begun.set()
        await go.wait()
        return 7.0

    store = Odd(claim=claim)
    asking = asyncio.create_task(claimed(store, "id", "k", b"call", 1))
    await begun.wait()
    asking.cancel()
    await asyncio.sleep(0)
    assert store.settled == []
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert store.settled == [None]


def test_a_failure_after_an_answer_has_begun_does_not_look_like_the_rest_of_it(
    gateway: oo.testing.LocalGateway, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def begun(request: web.BaseRequest, *_rest: object) -> Any:
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


async def test_a_first_call_that_does_not_end_is_a_409(monkeypatch: pytest.MonkeyPatch) -> None:
    async def claim() -> str:
        return "taken"

    monkeypatch.setattr(idempotency, "_GRACE", 0.0)
    with pytest.raises(Conflict) as caught:
        await claimed(Odd(claim=claim), "id", "k", b"call", 0.01)
    assert caught.value.status == 409


async def test_public_addresses_are_all_that_a_name_gives() -> None:
    resolver = PublicResolver()
    try:
        (found,) = await resolver.resolve("1.1.1.1", 443)
        assert (found["host"], found["port"]) == ("1.1.1.1", 443)
        with pytest.raises(oo.DoubleOError, match="private"):
            await resolver.resolve("10.0.0.1", 443)
    finally:
        await resolver.close()
