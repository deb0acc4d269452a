"""A repeated key gets the first result; the call is made once, whatever happened to the connection."""

from __future__ import annotations

import http.client
import json
import socket
import sqlite3
import struct
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

import oo
import oo.testing
from oo.gateway.app import Gateway
from oo.gateway.kept import KEPT
from oo.gateway.sealing import Keyring, new_key
from oo.gateway.vault import Vault
from oo.testing import BackgroundLoop
from tests.integration.gateway.test_gateway import ask
from tests.support.faults import BODY, CLOSE, READ, SILENCE, Endless, FaultServer, answer, head, serving
from tests.support.listening import Listener, shut
from tests.support.processes import until
from tests.support.stores import Notes
from tests.support.upstream import OpenAI
from tests.support.waiting import PATIENCE
from tests.support.worlds import World

LocalGateway = oo.testing.LocalGateway
WENT = b'{"charge": 1}'


class Counting:
    """An upstream that numbers its answers, and may be held: `go` lets it answer."""

    def __init__(self, *statuses: bytes, held: bool = False) -> None:
        self.go = threading.Event()
        self.statuses = list(statuses)
        self.count = 0
        if not held:
            self.go.set()

    def __call__(self, _request: bytes) -> bytes:
        self.count += 1
        body = b'{"number": %d}' % self.count
        assert self.go.wait(PATIENCE)
        status = self.statuses.pop(0) if self.statuses else b"201 Created"
        return answer(body, b"Content-Type: application/json", b"X-Mine: 1", status=status)


def charge(url: str, token: str, key: str = "k", body: bytes = b"{}", path: str = "charge") -> tuple[int, Any]:
    status, _, read = ask(url, "POST", f"/api/proxy/{path}", token, body, Idempotency_Key=key)
    return status, read


@contextmanager
def leaving(url: str, token: str, upstream: FaultServer, requests: int = 1) -> Iterator[None]:
    """A caller that sends a charge, and is gone once the upstream has it."""
    caller = http.client.HTTPConnection(urlsplit(url).netloc)
    caller.request("POST", "/api/proxy/charge", b"{}", {"Authorization": f"Bearer {token}", "Idempotency-Key": "k"})
    assert upstream.until(requests=requests)
    yield
    caller.close()


def test_a_repeat_gets_the_first_result(gateway: LocalGateway) -> None:
    with serving(reply=Counting()) as upstream:
        token = gateway.route("r", upstream.url)
        answers = [ask(gateway.url, "POST", "/api/proxy/charge", token, WENT, Idempotency_Key="k") for _ in range(3)]
        assert len(upstream.requests) == 1
    assert [(status, headers["X-Mine"], body) for status, headers, body in answers] == [(201, "1", {"number": 1})] * 3
    assert len({headers["X-Request-Id"] for _, headers, _ in answers}) == 3


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_every_method_that_changes_something_may_have_a_key(gateway: LocalGateway, method: str) -> None:
    with serving(reply=Counting()) as upstream:
        token = gateway.route("r", upstream.url)
        for _ in range(2):
            ask(gateway.url, method, "/api/proxy/charge", token, WENT, Idempotency_Key="k")
        assert len(upstream.requests) == 1


def test_a_get_is_made_each_time(gateway: LocalGateway) -> None:
    with serving(reply=Counting()) as upstream:
        token = gateway.route("r", upstream.url)
        bodies = [ask(gateway.url, "GET", "/api/proxy/x", token, Idempotency_Key="k")[2] for _ in range(2)]
    assert bodies == [{"number": 1}, {"number": 2}]


def test_another_key_is_another_call(gateway: LocalGateway) -> None:
    with serving(reply=Counting()) as upstream:
        token = gateway.route("r", upstream.url)
        assert [charge(gateway.url, token, key)[1]["number"] for key in ("a", "b", "A", "a")] == [1, 2, 3, 1]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "charge", b'{"a": 2}'),
        ("POST", "charge", None),
        ("POST", "other", b"{}"),
        ("PUT", "charge", b"{}"),
        ("POST", "charge?a=1", b"{}"),
    ],
    ids=["body", "no body", "path", "method", "query"],
)
def test_a_key_that_is_used_for_another_call_is_a_422(
    gateway: LocalGateway, method: str, path: str, body: bytes | None
) -> None:
    with serving(reply=Counting()) as upstream:
        token = gateway.route("r", upstream.url)
        assert charge(gateway.url, token)[0] == 201
        assert ask(gateway.url, method, f"/api/proxy/{path}", token, body, Idempotency_Key="k")[0] == 422
        assert charge(gateway.url, token) == (201, {"number": 1})
        assert len(upstream.requests) == 1


def test_repeats_of_a_call_that_is_under_way_wait_for_it(gateway: LocalGateway) -> None:
    held = Counting(held=True)
    with serving(reply=held) as upstream, ThreadPoolExecutor(8) as pool:
        token = gateway.route("r", upstream.url)
        callers = [pool.submit(charge, gateway.url, token) for _ in range(8)]
        assert upstream.until(requests=1)
        time.sleep(0.05)
        assert not any(caller.done() for caller in callers)
        # Another call with that key need not wait to be told so.
        assert charge(gateway.url, token, body=b"other")[0] == 422
        held.go.set()
        assert [caller.result(PATIENCE) for caller in callers] == [(201, {"number": 1})] * 8
        assert len(upstream.requests) == 1


def test_the_same_key_of_another_token_is_another_call(gateway: LocalGateway) -> None:
    with serving(reply=Counting()) as upstream:
        one, other = gateway.route("r", upstream.url), gateway.issue("route", "r")
        assert charge(gateway.url, one)[1] == {"number": 1}
        assert charge(gateway.url, other)[1] == {"number": 2}
        assert charge(gateway.url, one)[1] == {"number": 1}


@pytest.mark.parametrize(
    "status", [b"503 Unavailable", b"429 Too Many", b"409 Conflict", b"401 Unauthorized", b"402 Payment Required"]
)
def test_a_failure_that_a_retry_may_mend_is_not_kept(gateway: LocalGateway, status: bytes) -> None:
    with serving(reply=Counting(status)) as upstream:
        token = gateway.route("r", upstream.url)
        answers = [charge(gateway.url, token) for _ in range(3)]
    assert answers == [(int(status[:3]), {"number": 1}), (201, {"number": 2}), (201, {"number": 2})]


@pytest.mark.parametrize("status", [b"400 Bad", b"410 Gone", b"422 Unprocessable"])
def test_a_failure_that_stays_one_is_kept(gateway: LocalGateway, status: bytes) -> None:
    with serving(reply=Counting(status)) as upstream:
        token = gateway.route("r", upstream.url)
        assert [charge(gateway.url, token) for _ in range(2)] == [(int(status[:3]), {"number": 1})] * 2


@pytest.mark.parametrize("script", [[READ, CLOSE], [READ, head(b"Content-Length: 9"), SILENCE]], ids=["502", "504"])
def test_a_call_without_an_answer_is_made_again(gateway: LocalGateway, script: Any) -> None:
    with serving(script, reply=Counting()) as upstream:
        token = gateway.route("r", upstream.url, timeout=1)
        assert [charge(gateway.url, token)[0] // 100 for _ in range(2)] == [5, 2]


def test_a_caller_that_leaves_finds_the_result_when_it_comes_again(gateway: LocalGateway) -> None:
    held = Counting(held=True)
    with serving(reply=held) as upstream:
        token = gateway.route("r", upstream.url, timeout=PATIENCE)
        with leaving(gateway.url, token, upstream):
            pass
        threading.Timer(0.05, held.go.set).start()
        assert charge(gateway.url, token) == (201, {"number": 1})
        assert (len(upstream.requests), upstream.left) == (1, 0)


@pytest.mark.parametrize(
    "framing",
    [
        b"Content-Length: 10\r\n\r\nhalf",
        b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        b"Content-Length: 10\r\nExpect: 100-continue\r\n\r\n",
    ],
    ids=["length", "chunks", "continue"],
)
def test_a_caller_that_leaves_halfway_through_its_body_frees_its_key(gateway: LocalGateway, framing: bytes) -> None:
    notes = Notes()
    with serving(reply=Counting()) as upstream, BackgroundLoop() as background:
        token = gateway.route("r", upstream.url)
        url = background.enter(Gateway(gateway.vault, audit=notes)).url
        place = urlsplit(url)
        with socket.create_connection((place.hostname, place.port)) as caller:
            fields = b"Host: x\r\nAuthorization: Bearer %b\r\nIdempotency-Key: k\r\n" % token.encode()
            caller.sendall(b"POST /api/proxy/charge HTTP/1.1\r\n" + fields + framing)
            until(lambda: notes.begun)
        until(lambda: notes.ended)
        assert charge(url, token) == (201, {"number": 1})
        assert (notes.outcomes, len(upstream.requests)) == (["left", "allowed"], 1)


@pytest.mark.parametrize("before", [0.0, 0.05], ids=["within", "before"])
def test_a_caller_that_leaves_a_stream_finds_all_of_it(gateway: LocalGateway, before: float) -> None:
    pieces = [b"5\r\nfirst\r\n", b"6\r\nsecond\r\n", b"5\r\nthird\r\n0\r\n\r\n"]
    parts = [pieces[0], 0.05, pieces[1], 0.05, pieces[2]]
    with serving([READ, before, head(b"Transfer-Encoding: chunked"), *parts]) as upstream:
        token = gateway.route("r", upstream.url, timeout=PATIENCE)
        with leaving(gateway.url, token, upstream):
            pass
        status, body = charge(gateway.url, token)
        assert (status, body, len(upstream.requests)) == (200, b"firstsecondthird", 1)


def test_an_answer_too_large_to_keep_is_not_read_for_nobody(
    gateway: LocalGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("oo.gateway.recording.MAX_KEPT", 100 << 10)
    chunk = b"1000\r\n" + b"x" * 4096 + b"\r\n"
    with serving([READ, head(b"Transfer-Encoding: chunked"), chunk, 0.05, Endless(chunk)]) as upstream:
        token = gateway.route("r", upstream.url, timeout=PATIENCE)
        with leaving(gateway.url, token, upstream):
            pass
        assert upstream.until(left=1)
        assert charge(gateway.url, token)[0] == 200
        assert len(upstream.requests) == 2


def test_a_call_is_made_once_however_long_its_answer_streams(
    gateway: LocalGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("oo.gateway.middleware.idempotency._GRACE", 0.1)
    parts = [part for _ in range(20) for part in (b"5\r\npiece\r\n", 0.1)]
    script = [READ, head(b"Transfer-Encoding: chunked"), *parts, b"0\r\n\r\n"]
    with serving(script) as upstream, ThreadPoolExecutor(1) as pool:
        token = gateway.route("r", upstream.url, timeout=0.5)
        first = pool.submit(charge, gateway.url, token)
        assert upstream.until(requests=1)
        # Each is told to come again when its own patience ends.
        while not first.done():
            assert charge(gateway.url, token)[0] in (200, 409)
        assert first.result() == charge(gateway.url, token) == (200, b"piece" * 20)
        assert len(upstream.requests) == 1


def test_a_stream_without_an_end_is_not_read_for_nobody(gateway: LocalGateway) -> None:
    beats = [part for _ in range(200) for part in (b"5\r\n beat\r\n", 0.05)]
    with serving([READ, head(b"Transfer-Encoding: chunked"), *beats]) as upstream:
        token = gateway.route("r", upstream.url, timeout=0.5)
        with leaving(gateway.url, token, upstream):
            pass
        assert upstream.until(left=1)
        # Nothing of it was kept.
        assert charge(gateway.url, token) == (200, BODY)


def test_a_result_that_cannot_be_kept_is_answered_all_the_same(
    gateway: LocalGateway, caplog: pytest.LogCaptureFixture
) -> None:
    async def fill() -> None:
        await gateway.vault._results._writing.run(lambda db: db.execute("PRAGMA max_page_count = 1"))

    body = b'"%b"' % (b"x" * 100_000)
    with serving(reply=lambda _request: answer(body)) as upstream:
        token = gateway.route("r", upstream.url)
        assert charge(gateway.url, token, "before") == (200, body)
        gateway.run(fill())  # as full as a disk can be
        assert charge(gateway.url, token) == (200, body)
        # It was made, and so is not made again.
        status, said = charge(gateway.url, token)
        assert (status, "is not kept" in str(said)) == (410, True)
        assert len(upstream.requests) == 2
    assert "was not kept: the results file" in caplog.text
    assert "is full" in caplog.text


def test_a_large_result_is_repeated_whole(gateway: LocalGateway) -> None:
    body = bytes(range(256)) * (16 << 12)
    with serving(reply=lambda _request: answer(body)) as upstream:
        token = gateway.route("r", upstream.url)
        assert [charge(gateway.url, token) for _ in range(3)] == [(200, body)] * 3
        assert charge(gateway.url, token, "a byte too large", path="x")[0] == 200
        assert len(upstream.requests) == 2


def test_a_result_that_was_deleted_is_told_and_the_call_not_made_twice(gateway: LocalGateway) -> None:
    with serving(reply=Counting()) as upstream:
        token = gateway.route("r", upstream.url)
        assert charge(gateway.url, token)[0] == 201
        for file in gateway.vault.path.parent.glob("results.db*"):
            file.unlink()
        assert charge(gateway.url, token)[0] == 410
        # The next is kept as ever.
        assert [charge(gateway.url, token, "another") for _ in range(2)] == [(201, {"number": 2})] * 2
        assert len(upstream.requests) == 2


def test_a_token_that_is_used_up_shows_what_it_would_have_opened(gateway: LocalGateway) -> None:
    gateway.route("r", "http://127.0.0.1:9")
    token = gateway.issue("route", "r", uses=0)
    notes = Notes()
    with BackgroundLoop() as background:
        url = background.enter(Gateway(gateway.vault, audit=notes)).url
        assert charge(url, token)[0] == 401
    assert [(note["outcome"], note["target"]) for note in notes.ended] == [("used up", "r")]


def test_a_repeat_that_leaves_disturbs_nobody(gateway: LocalGateway) -> None:
    held = Counting(held=True)
    with serving(reply=held) as upstream, ThreadPoolExecutor(1) as pool:
        token = gateway.route("r", upstream.url)
        first = pool.submit(charge, gateway.url, token)
        assert upstream.until(requests=1)
        for _ in range(3):
            with leaving(gateway.url, token, upstream):
                pass
        held.go.set()
        assert first.result(PATIENCE) == charge(gateway.url, token) == (201, {"number": 1})
        assert len(upstream.requests) == 1


@pytest.mark.parametrize("end", [answer(b"{}"), answer(b"{}", status=b"500 No"), b"no HTTP\r\n\r\n"])
def test_a_call_whose_caller_has_left_is_left_however_it_ends(gateway: LocalGateway, end: bytes) -> None:
    notes, go = Notes(), threading.Event()

    def held(_request: bytes) -> bytes:
        assert go.wait(PATIENCE)
        return end

    with serving(reply=held) as upstream, BackgroundLoop() as background:
        token = gateway.route("r", upstream.url)
        server = background.enter(Gateway(gateway.vault, audit=notes))
        with leaving(server.url, token, upstream):
            pass
        until(lambda: not server._server._tracked)
        go.set()
        until(lambda: notes.ended)
        until(lambda: not server.under_way())
    assert [(note["outcome"], note["status"]) for note in notes.ended] == [("left", 499)]


def test_a_gateway_that_stops_lets_a_call_go_whose_caller_has_left() -> None:
    with serving([READ, SILENCE]) as upstream:
        with oo.testing.gateway() as gateway:
            token = gateway.route("r", upstream.url, timeout=600)
            with leaving(gateway.url, token, upstream):
                pass
            began = time.perf_counter()
        # Ten times what such calls are given, and long before the upstream or the route would end it.
        assert time.perf_counter() - began < 10
        assert upstream.until(left=1)


def test_a_repeat_spends_no_use(gateway: LocalGateway) -> None:
    with serving(reply=Counting()) as upstream:
        gateway.route("r", upstream.url)
        token = gateway.issue("route", "r", uses=1)
        assert [charge(gateway.url, token) for _ in range(3)] == [(201, {"number": 1})] * 3
        assert charge(gateway.url, token, "another")[0] == 401
        assert len(upstream.requests) == 1


def test_a_revoked_token_gets_no_kept_result(gateway: LocalGateway) -> None:
    with serving(reply=Counting()) as upstream:
        token = gateway.route("r", upstream.url)
        assert charge(gateway.url, token)[0] == 201
        (issued,) = gateway.run(gateway.vault.tokens())
        gateway.run(gateway.vault.revoke(issued.id))
        assert charge(gateway.url, token)[0] == 401


def test_a_result_is_kept_for_a_day(gateway: LocalGateway) -> None:
    with serving(reply=Counting()) as upstream:
        token = gateway.route("r", upstream.url)
        numbers = [charge(gateway.url, token)[1]["number"]]
        for seconds in (KEPT - 60, 120):
            with closing(sqlite3.connect(gateway.vault.path)) as db, db:
                db.execute("UPDATE claims SET at = at - ?", (seconds,))
            numbers.append(charge(gateway.url, token)[1]["number"])
    assert KEPT == 24 * 3600
    assert numbers == [1, 1, 2]


@contextmanager
def served(home: Path, ring: Keyring) -> Iterator[LocalGateway]:
    """A gateway, with a vault object of its own, over a home that others may use too."""
    with BackgroundLoop() as background:
        vault = background.enter(Vault(home, lambda: ring))
        yield LocalGateway(background.enter(Gateway(vault)).url, vault, background)


@pytest.fixture
def ring(tmp_path: Path) -> Keyring:
    ring = Keyring([new_key()])
    Vault.create(tmp_path, ring)
    return ring


def test_a_kept_result_survives_a_restart(tmp_path: Path, ring: Keyring) -> None:
    with serving(reply=Counting()) as upstream:
        with served(tmp_path, ring) as gateway:
            token = gateway.route("r", upstream.url)
            first = charge(gateway.url, token)
        with served(tmp_path, ring) as gateway:
            assert charge(gateway.url, token) == first == (201, {"number": 1})
        assert len(upstream.requests) == 1


def test_two_gateways_over_one_vault_make_a_call_once(tmp_path: Path, ring: Keyring) -> None:
    held = Counting(held=True)
    with serving(reply=held) as upstream, served(tmp_path, ring) as one, served(tmp_path, ring) as other:
        token = one.route("r", upstream.url)
        with ThreadPoolExecutor(6) as pool:
            callers = [pool.submit(charge, each.url, token) for each in (one, other) * 3]
            assert upstream.until(requests=1)
            held.go.set()
            assert [caller.result(PATIENCE) for caller in callers] == [(201, {"number": 1})] * 6
        assert len(upstream.requests) == 1


class Relay(Listener):
    """A TCP relay before a gateway, which resets its first connection: before the answer, or after `passed` bytes."""

    def __init__(self, to: str, passed: int) -> None:
        self._to = urlsplit(to)
        self._passed = passed
        self.connections = 0
        super().__init__()

    def accepted(self, connection: socket.socket) -> None:
        self.connections += 1
        there = self.keep(socket.create_connection((self._to.hostname, self._to.port)))
        cut = self._passed if self.connections == 1 else None
        self.start(self._pump, connection, there, None)
        self.start(self._pump, there, connection, cut)

    def _pump(self, one: socket.socket, other: socket.socket, cut: int | None) -> None:
        try:
            while data := one.recv(65536):
                if cut is not None:
                    other.sendall(data[:cut])
                    # A RST goes out when the socket is closed, with this set.
                    other.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    break
                other.sendall(data)
        except OSError:
            pass
        for each in (one, other):
            # Wakes the other thread of this pair, whose recv() would keep the socket open.
            shut(each, socket.SHUT_RD)
        other.close()


@pytest.mark.parametrize("passed", [0, 20, 300])
def test_a_retried_post_happens_once(world: World, gateway: LocalGateway, openai: OpenAI, passed: int) -> None:
    token = gateway.route("openai", openai.url)
    with Relay(gateway.url, passed) as relay:
        client = world.client(relay.url, retries=3, backoff_factor=0.01)
        completion = client.chat_completion(token, [{"role": "user", "content": "Hi"}])
        assert completion["choices"][0]["message"]["content"] == "Hello to you."
        client.close()
    assert relay.connections == 2
    assert [json.loads(each["body"])["messages"] for each in openai.seen] == [[{"role": "user", "content": "Hi"}]]


def test_a_client_that_loses_patience_makes_its_post_once(world: World, gateway: LocalGateway) -> None:
    held = Counting(held=True)
    with serving(reply=held) as upstream:
        token = gateway.route("r", upstream.url)
        client = world.client(gateway.url, timeout=0.3, retries=9, backoff_factor=0.001)
        threading.Timer(0.5, held.go.set).start()
        assert client.proxy("charge", token, payload={}) == {"number": 1}
        assert len(upstream.requests) == 1
