"""What a token and a process may have under way at once, over sockets."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest

import oo.testing
from oo.gateway import app as app_module
from oo.gateway.capacity import Capacity
from tests.integration.gateway.test_gateway import ask
from tests.support.faults import FaultServer, answer, serving
from tests.support.waiting import PATIENCE

LocalGateway = oo.testing.LocalGateway


@pytest.fixture
def capacity(monkeypatch: pytest.MonkeyPatch) -> Capacity:
    made = Capacity(4, 1 << 20)
    monkeypatch.setattr(app_module, "Capacity", lambda _: made)
    return made


@pytest.fixture
def gateway(capacity: Capacity) -> Iterator[LocalGateway]:
    with oo.testing.gateway() as running:
        yield running


@contextmanager
def held() -> Iterator[tuple[FaultServer, threading.Event]]:
    """An upstream that answers when the event is set."""
    go = threading.Event()

    def reply(_: bytes) -> bytes:
        assert go.wait(PATIENCE)
        return answer(b"taken")

    with serving(reply=reply) as upstream:
        try:
            yield upstream, go
        finally:
            go.set()


def until(capacity: Capacity, calls: int) -> None:
    end = time.monotonic() + PATIENCE
    while capacity.calls != calls:
        assert time.monotonic() < end, capacity.calls
        time.sleep(0.01)


def assert_busy(answered: tuple[int, Any, Any], status: int) -> None:
    assert (answered[0], answered[1]["Retry-After"]) == (status, "1")
    assert "under way" in answered[2]["error"]["message"]


def test_a_token_keeps_a_quarter_for_others(gateway: LocalGateway, capacity: Capacity) -> None:
    with held() as (upstream, go), ThreadPoolExecutor() as callers:
        token = gateway.route("r", upstream.url)
        other, third = gateway.issue("route", "r"), gateway.issue("route", "r")
        calls = [callers.submit(ask, gateway.url, "GET", "/api/proxy/x", token) for _ in range(3)]
        until(capacity, 3)
        assert_busy(ask(gateway.url, "GET", "/api/proxy/x", token), 429)
        calls.append(callers.submit(ask, gateway.url, "GET", "/api/proxy/x", other))
        until(capacity, 4)
        assert_busy(ask(gateway.url, "GET", "/api/proxy/x", third), 503)
        assert ask(gateway.url, "GET", "/health")[0] == 200
        go.set()
        assert [call.result(PATIENCE)[0] for call in calls] == [200] * 4
        until(capacity, 0)


def test_a_token_has_as_many_calls_as_its_terms_say(gateway: LocalGateway, capacity: Capacity) -> None:
    with held() as (upstream, go), ThreadPoolExecutor() as callers:
        gateway.route("r", upstream.url)
        token = gateway.issue("route", "r", concurrency=1, uses=2)
        call = callers.submit(ask, gateway.url, "GET", "/api/proxy/x", token)
        until(capacity, 1)
        assert_busy(ask(gateway.url, "POST", "/api/proxy/x", token, b"{}", Idempotency_Key="k"), 429)
        go.set()
        assert call.result(PATIENCE)[0] == 200
        until(capacity, 0)
        # What was refused has cost no use.
        assert ask(gateway.url, "POST", "/api/proxy/x", token, b"{}", Idempotency_Key="k")[0] == 200


@pytest.mark.parametrize("keyed", [True, False])
def test_a_call_holds_its_place_until_its_work_ends(gateway: LocalGateway, capacity: Capacity, keyed: bool) -> None:
    """A keyed call goes on when its caller has left; another ends with it."""
    with held() as (upstream, go):
        token = gateway.route("r", upstream.url)
        fields = {"Authorization": f"Bearer {token}", **({"Idempotency-Key": "k"} if keyed else {})}
        with closing(http.client.HTTPConnection(urlsplit(gateway.url).netloc, timeout=PATIENCE)) as caller:
            caller.request("POST", "/api/proxy/x", b"{}", fields)
            assert upstream.until(requests=1)
        if keyed:
            time.sleep(0.2)
            assert capacity.calls == 1
            go.set()
        until(capacity, 0)


@pytest.mark.parametrize("size", [700 << 10, 900 << 10])
def test_bytes_that_are_kept_are_bounded(gateway: LocalGateway, capacity: Capacity, size: int) -> None:
    with serving(reply=lambda _: answer(b"taken")) as upstream:
        token = gateway.route("r", upstream.url)
        body = b"x" * size
        large = size > capacity.max_size * 3 // 4
        status, _, _ = ask(gateway.url, "POST", "/api/proxy/x", token, body, Idempotency_Key="k")
        assert status == (413 if large else 200)
        assert ask(gateway.url, "POST", "/api/proxy/x", token, body)[0] == 200  # of this one nothing is kept
        assert capacity.size == 0
