"""A token that is revoked, or expires, ends its calls that are under way, whatever they are doing."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import aiohttp
import pytest
from aiohttp import WSMsgType

from oo.gateway.app import Gateway
from oo.testing import BackgroundLoop, LocalGateway
from tests.support.faults import READ, SILENCE, Drip, Endless, Script, head, serving
from tests.support.processes import until
from tests.support.sockets import Echoing
from tests.support.stores import Notes
from tests.support.waiting import PATIENCE

KEY = "Idempotency-Key: k\r\n"
CHUNKED = head(b"Transfer-Encoding: chunked")
STALLED = [READ, CHUNKED, b"3\r\none\r\n", SILENCE]
DRIPPING = [READ, CHUNKED, Drip(b"3\r\none\r\n" * 10_000, 0.01, 8), SILENCE]
FLOWING = [READ, CHUNKED, Endless(b"400\r\n" + b"x" * 1024 + b"\r\n")]
SILENT = [READ, SILENCE]


class Watched(NamedTuple):
    """A gateway whose audit can be read."""

    gateway: LocalGateway
    server: Gateway
    notes: Notes

    @property
    def url(self) -> str:
        return self.server.url

    def call(self, token: str, fields: str) -> socket.socket:
        address = urlsplit(self.url)
        sock = socket.create_connection((str(address.hostname), int(address.port or 0)), PATIENCE)
        request = f"POST /api/proxy/x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n{fields}"
        sock.sendall(f"{request}Content-Length: 2\r\n\r\n{{}}".encode())
        return sock

    def revoke(self, token: str) -> None:
        self.gateway.run(self.gateway.vault.revoke(self.gateway.vault.id_of(token)))


@pytest.fixture
def watched(gateway: LocalGateway) -> Iterator[Watched]:
    notes = Notes()
    with BackgroundLoop() as background:
        yield Watched(gateway, background.enter(Gateway(gateway.vault, audit=notes)), notes)


def read(sock: socket.socket) -> bytes:
    return b"".join(iter(lambda: sock.recv(65536), b""))


@pytest.mark.parametrize("fields", ["", KEY], ids=["a call", "a keyed call"])
@pytest.mark.parametrize("script", [STALLED, DRIPPING], ids=["stalled", "dripping"])
def test_a_stream_is_broken_off(watched: Watched, script: Script, fields: str) -> None:
    with serving(script) as upstream:
        token = watched.gateway.route("r", upstream.url)
        with watched.call(token, fields) as caller:
            assert caller.recv(65536).startswith(b"HTTP/1.1 200 ")
            watched.revoke(token)
            assert not read(caller).endswith(b"0\r\n\r\n")
        assert upstream.until(left=1)
        until(lambda: watched.notes.ended)
        with watched.call(token, fields) as caller:
            assert caller.recv(65536).startswith(b"HTTP/1.1 401 ")
    assert [(note["outcome"], note["status"]) for note in watched.notes.ended] == [("revoked", 200), ("revoked", 401)]


@pytest.mark.parametrize("fields", ["", KEY], ids=["a call", "a keyed call"])
def test_a_call_whose_answer_has_not_come_is_refused(watched: Watched, fields: str) -> None:
    with serving(SILENT) as upstream:
        token = watched.gateway.route("r", upstream.url)
        with watched.call(token, fields) as caller:
            assert upstream.until(requests=1)
            watched.revoke(token)
            answer = caller.recv(65536)
        assert upstream.until(left=1)
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b"it was revoked" in answer
    assert [(note["outcome"], note["status"]) for note in watched.notes.ended] == [("revoked", 401)]
    assert len(watched.notes.begun) == 1


def expire(watched: Watched, token: str) -> None:
    pass  # it does so by itself


def remove(watched: Watched, token: str) -> None:
    watched.gateway.run(watched.gateway.vault.remove("route", "r"))


def prune(watched: Watched, token: str) -> None:
    watched.gateway.run(watched.gateway.vault.remove_tokens(lambda _: True))


@pytest.mark.parametrize(
    ("end", "terms", "outcome"),
    [(expire, {"ttl": 1.0}, "expired"), (remove, {}, "revoked"), (prune, {}, "unknown")],
)
def test_whatever_closes_a_token_ends_its_streams(
    watched: Watched, end: Callable[[Watched, str], None], terms: dict[str, Any], outcome: str
) -> None:
    with serving(STALLED) as upstream:
        watched.gateway.route("r", upstream.url)
        token = watched.gateway.issue("route", "r", **terms)
        with watched.call(token, "") as caller:
            assert caller.recv(65536).startswith(b"HTTP/1.1 200 ")
            end(watched, token)
            read(caller)
        assert upstream.until(left=1)
    assert watched.notes.outcomes == [outcome]


def test_a_caller_that_reads_nothing_is_hung_up_on(watched: Watched) -> None:
    with serving(FLOWING) as upstream:
        token = watched.gateway.route("r", upstream.url)
        with watched.call(token, ""):
            assert upstream.until(requests=1)
            until(lambda: watched.notes.begun)
            watched.revoke(token)
            assert upstream.until(left=1)
            until(lambda: watched.notes.ended)
    assert watched.notes.outcomes == ["revoked"]


def test_what_is_recorded_for_a_caller_that_has_left_ends_too(watched: Watched) -> None:
    with serving(DRIPPING, STALLED) as upstream:
        token = watched.gateway.route("r", upstream.url)
        with watched.call(token, KEY) as caller:
            assert caller.recv(65536).startswith(b"HTTP/1.1 200 ")
        until(lambda: watched.notes.ended)
        assert watched.notes.outcomes == ["left"]
        watched.revoke(token)
        assert upstream.until(left=1)
    until(lambda: is_free(watched, token))


def is_free(watched: Watched, token: str) -> bool:
    """Whether a repeat would make the call anew."""
    vault = watched.gateway.vault
    return watched.gateway.run(vault.result(vault.id_of(token), "k", b"")) is None


def test_the_streams_of_other_tokens_go_on(watched: Watched) -> None:
    with serving(DRIPPING, DRIPPING) as upstream:
        revoked = watched.gateway.route("r", upstream.url)
        other = watched.gateway.issue("route", "r")
        with watched.call(other, "") as going, watched.call(revoked, "") as ending:
            assert ending.recv(65536).startswith(b"HTTP/1.1 200 ")
            watched.revoke(revoked)
            read(ending)
            for _ in range(20):
                assert going.recv(65536)
    assert watched.notes.outcomes[0] == "revoked"


async def test_a_websocket_ends(gateway: LocalGateway) -> None:
    async with Echoing() as upstream, aiohttp.ClientSession() as http:
        token = await asyncio.to_thread(gateway.route, "r", upstream.url, websocket=True)
        headers = {"Authorization": f"Bearer {token}"}
        async with http.ws_connect(f"{gateway.url}/api/proxy/echo", headers=headers) as ws:
            assert await ws.receive_str() == "hello None"
            await asyncio.to_thread(gateway.run, gateway.vault.revoke(gateway.vault.id_of(token)))
            ended = await ws.receive(PATIENCE)
            assert (ended.type, ended.data) == (WSMsgType.CLOSE, 1008)
        await asyncio.wait_for(upstream.closed.get(), PATIENCE)


def test_a_keyed_call_whose_body_still_comes_is_not_made(watched: Watched) -> None:
    with serving(SILENT) as upstream:
        token = watched.gateway.route("r", upstream.url)
        with watched.call(token, f"{KEY}Content-Length: 100\r\nX-Rest: ") as caller:
            until(lambda: watched.notes.begun)
            watched.revoke(token)
            answer = caller.recv(65536)
        assert (answer.startswith(b"HTTP/1.1 401 "), upstream.requests) == (True, [])
    assert [note["outcome"] for note in watched.notes.ended] == ["revoked"]


def test_a_kept_answer_that_is_read_slowly_ends(watched: Watched) -> None:
    size = 12 << 20
    with serving([READ, head(b"Content-Length: %d" % size), b"x" * size]) as upstream:
        token = watched.gateway.route("r", upstream.url)
        with watched.call(token, KEY) as caller:
            came = 0
            while came < size:  # the head besides
                came += len(caller.recv(1 << 20))
            until(lambda: watched.notes.ended)
        with watched.call(token, KEY) as slow:
            assert slow.recv(1024).startswith(b"HTTP/1.1 200 ")
            watched.revoke(token)
            until(lambda: len(watched.notes.ended) == 2)
            assert len(read(slow)) < size - 2048
    assert watched.notes.outcomes == ["allowed", "revoked"]


@pytest.mark.parametrize("fields", ["", KEY], ids=["a call", "a keyed call"])
def test_whoever_has_left_gets_no_401(watched: Watched, fields: str) -> None:
    with serving(SILENT) as upstream:
        token = watched.gateway.route("r", upstream.url)
        with watched.call(token, fields):
            assert upstream.until(requests=1)
        until(lambda: not watched.server._server._tracked)
        watched.revoke(token)
        until(lambda: watched.notes.ended)
    assert [note["status"] for note in watched.notes.ended] == [499]
