"""Time, in both worlds: `timeout` bounds an attempt and `deadline` a call, however slow the server."""

from __future__ import annotations

import socket
import threading
from typing import Any

import pytest

import oo
from tests.support.faults import DRIPPED, READ, SILENCE, Drip, Script, answer, head, nobody, serving, unaccepting
from tests.support.probing import LONG, PROBE, TOKEN, WITHIN, ZIPPED, assert_bounded, chunked, failure
from tests.support.waiting import PATIENCE, on_time
from tests.support.worlds import World

# Each goes on for longer than `on_time` has patience, so that a limit which begins anew with every byte is seen.
SLOW: dict[str, Script] = {
    "silence": [READ, SILENCE],
    "a dripped status line": [READ, DRIPPED],
    "dripped headers": [READ, b"HTTP/1.1 200 OK\r\n", Drip(b"X-Slow: 1\r\n" * 90, 0.07, 11)],
    "a dripped body": [READ, head(b"Content-Length: %d" % len(LONG)), Drip(LONG, 0.04)],
    "dripped chunks": [READ, chunked(b""), Drip(b"1\r\n{\r\n" * 999, 0.04, 6)],
    "dripped gzip": [READ, head(b"Content-Encoding: gzip"), Drip(ZIPPED, 0.04)],
    "dripped interim answers": [READ, Drip(b"HTTP/1.1 100 Continue\r\n\r\n" * 999, 0.04, 25)],
}


@pytest.mark.parametrize("limit", ["timeout", "deadline"])
@pytest.mark.parametrize("name", SLOW)
def test_a_slow_server_does_not_hold_a_call_past_its_limit(world: World, name: str, limit: str) -> None:
    with serving(SLOW[name]) as server:
        assert_bounded(world, server.url, limit, PROBE["secret"][1])


@pytest.mark.parametrize("limit", ["timeout", "deadline"])
def test_a_server_that_reads_nothing_does_not_hold_an_upload(world: World, limit: str) -> None:
    with serving([PATIENCE]) as server:
        payload = {"file": "x" * (6 << 20)}
        assert_bounded(world, server.url, limit, lambda client: client.proxy("v1/files", TOKEN, payload=payload))


@pytest.mark.parametrize("limit", ["timeout", "deadline"])
def test_all_addresses_of_a_host_share_the_time_to_connect(
    world: World, limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with unaccepting() as url:
        known = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **keywords: known(*args, **keywords) * 100)
        assert_bounded(world, url.replace("127.0.0.1", "localhost"), limit, PROBE["secret"][1])


@pytest.mark.parametrize("limit", ["timeout", "deadline"])
def test_a_resolver_that_does_not_answer_does_not_hold_a_call(
    world: World, limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = threading.Event()

    def silent(*_args: object, **_keywords: object) -> list[Any]:
        over.wait(PATIENCE)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", silent)
    try:
        assert_bounded(world, "https://gateway.example", limit, PROBE["secret"][1])
    finally:
        over.set()


def test_a_name_without_an_address_is_a_failed_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_keywords: [])
    with oo.Client("https://gateway.example") as client:
        error = failure(PROBE["secret"][1], client)
    assert (error.reason, error.retryable) == ("connection", True)


def test_the_resolver_is_asked_where_no_thread_can_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    real = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda _host, *rest, **more: real("127.0.0.1", *rest, **more))
    with nobody() as url, oo.Client(url.replace("http://127.0.0.1", "https://gateway.example")) as client:
        monkeypatch.setattr(threading.Thread, "start", none)
        assert "refused" in str(failure(PROBE["secret"][1], client))


def test_the_deadline_bounds_all_attempts_and_waits_together(world: World) -> None:
    with serving(*[[READ, SILENCE]] * 9) as server:
        client = world.client(server.url, timeout=0.08, retries=9, backoff_factor=0.001, deadline=2 * WITHIN)
        error = failure(PROBE["secret"][1], client)
        assert error.reason in ("deadline", "timeout")
        # Each attempt takes its 0.08 s, so that a fourth would begin after the deadline.
        assert len(server.requests) <= error.attempts <= 3


def test_the_deadline_ends_an_attempt_that_is_not_the_first(world: World) -> None:
    busy = answer(b"{}", status=b"503 Busy")
    with serving([READ, busy, READ, SILENCE], [READ, SILENCE]) as server:
        client = world.client(server.url, timeout=PATIENCE, retries=9, backoff_factor=0.001, deadline=3 * WITHIN)
        error = on_time(lambda: failure(PROBE["secret"][1], client), 3 * WITHIN)
        assert error.reason == "deadline"
        assert error.attempts <= 2
