"""One hook and the same slots in three worlds: what a plugin sees of a gateway's calls."""

from __future__ import annotations

import asyncio
import http.client
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest

import oo
import oo.testing
from oo.gateway.app import Gateway
from oo.gateway.errors import GatewayError
from oo.testing import BackgroundLoop, MockTransport
from tests.integration.gateway.test_gateway import ask
from tests.support.faults import READ, SILENCE, answer, serving
from tests.support.processes import until
from tests.support.stores import Notes
from tests.support.upstream import OpenAI
from tests.support.waiting import PATIENCE, SOON

KEY = "the-real-key"


class Timer:
    """How long each call took, in any of the worlds."""

    def __init__(self, role: Any) -> None:
        self.role = role
        self.seen: list[tuple[str, float]] = []

    async def __call__(self, request: oo.Request, call_next: oo.CallNext) -> oo.Response:
        began = call_next.io.now()
        try:
            return await call_next(request)
        finally:
            self.seen.append((request.operation, call_next.io.now() - began))


class Timing:
    def __init__(self) -> None:
        self.timers: list[Timer] = []

    @oo.hookimpl
    def oo_middleware(self, client: oo.ClientInfo) -> list[tuple[oo.Slot, Timer]]:
        self.timers.append(Timer(client.role))
        return [(oo.Slot.CALL, self.timers[-1])]


class Watching:
    """Notes what passes at each slot of a gateway."""

    def __init__(self) -> None:
        self.notes: list[tuple[str, str]] = []

    @oo.hookimpl
    def oo_middleware(self, client: oo.ClientInfo) -> list[tuple[oo.Slot, oo.Middleware]]:
        return [(slot, self.at(slot)) for slot in oo.Slot]

    def at(self, slot: oo.Slot) -> oo.Middleware:
        async def watch(request: oo.Request, call_next: oo.CallNext) -> oo.Response:
            self.notes.append((slot.value, request.headers.get("X-Key") or request.path))
            try:
                response = await call_next(request)
            except GatewayError as error:
                self.notes.append((slot.value, str(error.status)))
                raise
            response = await response.buffered()
            self.notes.append((slot.value, "key" if KEY.encode() in response.body else "no key"))
            return response

        return watch


@contextmanager
def registered(plugin: Any, name: str) -> Iterator[None]:
    oo.register(plugin, name)
    try:
        yield
    finally:
        oo.unregister(name)


@contextmanager
def running(gateway: oo.testing.LocalGateway, *plugins: str, audit: Notes | None = None) -> Iterator[str]:
    """Another gateway over the same vault, with plugins."""
    with BackgroundLoop() as background:
        yield background.enter(Gateway(gateway.vault, plugins=plugins, audit=audit)).url


def test_a_timer_runs_unchanged_in_all_three_worlds(gateway: oo.testing.LocalGateway) -> None:
    token = gateway.secret("a", "value")

    async def under_asyncio() -> str:
        async with oo.AsyncClient(transport=MockTransport([{"value": "value"}])) as client:
            return await client.get_secret("any")

    timing = Timing()
    with registered(timing, "timing"):
        with oo.Client(transport=MockTransport([{"value": "value"}])) as client:
            assert client.get_secret("any") == "value"
        assert asyncio.run(under_asyncio()) == "value"
        with running(gateway, "timing") as url:
            assert ask(url, "GET", "/api/secret", token)[2] == {"value": "value"}
    assert [timer.role for timer in timing.timers] == ["blocking", "asyncio", "gateway"]
    assert [[operation for operation, _ in timer.seen] for timer in timing.timers] == [["secret"]] * 3
    assert all(seconds >= 0 for timer in timing.timers for _, seconds in timer.seen)


def test_a_gateway_loads_what_it_names_and_nothing_else(gateway: oo.testing.LocalGateway) -> None:
    timing = Timing()
    with registered(timing, "timing"), running(gateway) as url:
        assert ask(url, "GET", "/health")[0] == 200
    assert timing.timers == []
    with BackgroundLoop() as background, pytest.raises(ValueError, match="plugin no-such cannot be loaded"):
        background.enter(Gateway(gateway.vault, plugins=["no-such"]))


def test_each_slot_sees_what_passes_there(gateway: oo.testing.LocalGateway, openai: OpenAI) -> None:
    gateway.secret("key", KEY)
    token = gateway.route("r", openai.url, {"X-Key": "{key}"}, allow=("GET /echo",))
    watching = Watching()
    with registered(watching, "watching"), running(gateway, "watching") as url:
        status, _, _ = ask(url, "GET", "/api/proxy/echo", token)
        passed, watching.notes = watching.notes, []
        refused = [ask(url, "GET", path, token)[0] for path in ("/api/proxy/other", "/api/secret", "/nothing")]
    assert (status, refused) == (200, [403, 401, 404])
    assert passed == [
        ("call", "/api/proxy/echo"),
        ("fetch", "/api/proxy/echo"),
        ("attempt", "/echo"),
        ("wire", KEY),
        ("wire", "key"),
        ("attempt", "no key"),
        ("fetch", "no key"),
        ("call", "no key"),
    ]
    # What was refused before it is seen by the outermost alone.
    assert watching.notes == [
        ("call", "/api/proxy/other"),
        ("call", "403"),
        ("call", "/api/secret"),
        ("call", "401"),
        ("call", "/nothing"),
        ("call", "404"),
    ]


@pytest.mark.parametrize("slot", oo.Slot)
def test_nothing_that_a_plugin_refuses_goes_unseen(
    gateway: oo.testing.LocalGateway, openai: OpenAI, slot: oo.Slot
) -> None:
    async def refuse(request: oo.Request, call_next: oo.CallNext) -> oo.Response:
        raise GatewayError(403, "not today", "holiday")

    class Refusing:
        @oo.hookimpl
        def oo_middleware(self, client: oo.ClientInfo) -> list[tuple[oo.Slot, oo.Middleware]]:
            return [(slot, refuse)]

    token, notes = gateway.route("r", openai.url), Notes()
    refused = {"error": {"message": "not today", "type": "permission_error", "code": "not_allowed"}}
    with registered(Refusing(), "refusing"), running(gateway, "refusing", audit=notes) as url:
        assert ask(url, "GET", "/api/proxy/v1/models", token)[::2] == (403, refused)
    assert (notes.outcomes, openai.seen) == (["holiday"], [])


def test_what_is_refused_by_the_rules_costs_no_use_and_a_replay_counts_against_the_rate(
    gateway: oo.testing.LocalGateway, openai: OpenAI
) -> None:
    from oo.gateway.models import Rate

    gateway.route("r", openai.url, allow=("* /v1/*",))
    token = gateway.issue("route", "r", uses=1, rate=Rate(4, 1000.0))
    assert ask(gateway.url, "GET", "/api/proxy/other", token)[0] == 403
    sent = [ask(gateway.url, "POST", "/api/proxy/v1/charges", token, b"{}", Idempotency_Key="k")[0] for _ in range(4)]
    assert sent == [200, 200, 200, 429]
    (used,) = [each.used for each in gateway.run(gateway.vault.tokens()) if each.uses == 1]
    assert used == 1


class Between:
    """A plugin whose middleware stands in one slot."""

    def __init__(self, slot: oo.Slot, middleware: oo.Middleware) -> None:
        self.offers = [(slot, middleware)]

    @oo.hookimpl
    def oo_middleware(self, client: oo.ClientInfo) -> list[tuple[oo.Slot, oo.Middleware]]:
        return self.offers


async def impatient(request: oo.Request, call_next: oo.CallNext) -> oo.Response:
    try:
        return await asyncio.wait_for(call_next(request), 0.2)
    except asyncio.TimeoutError:
        raise GatewayError(504, "too slow", "impatient") from None


@pytest.mark.parametrize("slot", [oo.Slot.CALL, oo.Slot.FETCH])
def test_a_keyed_call_that_a_plugin_does_not_wait_for_is_made_once(
    gateway: oo.testing.LocalGateway, slot: oo.Slot
) -> None:
    go = threading.Event()

    def held(_request: bytes) -> bytes:
        assert go.wait(PATIENCE)
        return answer(b"made")

    with (
        serving(reply=held) as upstream,
        registered(Between(slot, impatient), "impatient"),
        running(gateway, "impatient") as url,
    ):
        token = gateway.route("r", upstream.url)
        assert ask(url, "POST", "/api/proxy/charge", token, b"{}", Idempotency_Key="k")[0] == 504
        go.set()
        assert ask(url, "POST", "/api/proxy/charge", token, b"{}", Idempotency_Key="k")[::2] == (200, b"made")
        assert len(upstream.requests) == 1


def test_a_keyed_call_that_goes_on_behind_a_plugin_ends_with_its_token(gateway: oo.testing.LocalGateway) -> None:
    with (
        serving([READ, SILENCE]) as upstream,
        registered(Between(oo.Slot.CALL, impatient), "impatient"),
        running(gateway, "impatient") as url,
    ):
        token = gateway.route("r", upstream.url, timeout=600)
        assert ask(url, "POST", "/api/proxy/charge", token, b"{}", Idempotency_Key="k")[0] == 504
        assert upstream.left == 0
        gateway.run(gateway.vault.revoke(gateway.vault.id_of(token)))
        began = time.monotonic()
        assert upstream.until(left=1)
        assert time.monotonic() - began < SOON


async def failing(request: oo.Request, call_next: oo.CallNext) -> oo.Response:
    await call_next(request)
    raise GatewayError(500, "no", "no")


async def answering(request: oo.Request, call_next: oo.CallNext) -> oo.Response:
    await call_next(request)
    return oo.Response(200, body=b"mine", request=request)


async def dawdling(request: oo.Request, call_next: oo.CallNext) -> oo.Response:
    response = await call_next(request)
    await asyncio.sleep(PATIENCE)
    return response


@pytest.mark.parametrize("key", [None, "k"], ids=["a call", "a keyed call"])
@pytest.mark.parametrize("slot", [oo.Slot.CALL, oo.Slot.FETCH])
@pytest.mark.parametrize("middleware", [failing, answering, dawdling])
def test_an_answer_that_a_plugin_drops_is_over(
    gateway: oo.testing.LocalGateway, middleware: oo.Middleware, slot: oo.Slot, key: str | None
) -> None:
    large = answer(b"x" * (1 << 20))
    headers = {} if key is None else {"Idempotency_Key": key}
    with (
        serving(reply=lambda _request: large) as upstream,
        registered(Between(slot, middleware), "dropping"),
        BackgroundLoop() as background,
    ):
        server = background.enter(Gateway(gateway.vault, plugins=["dropping"]))
        token = gateway.route("r", upstream.url)
        if middleware is dawdling:
            caller = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=PATIENCE)
            fields = {"Authorization": f"Bearer {token}", **({} if key is None else {"Idempotency-Key": key})}
            caller.request("POST", "/api/proxy/charge", b"{}", fields)
            assert upstream.until(requests=1)
            caller.close()
        else:
            ask(server.url, "POST", "/api/proxy/charge", token, b"{}", **headers)
        until(lambda: not server.under_way())
        if key is not None:
            status, _, body = ask(gateway.url, "POST", "/api/proxy/charge", token, b"{}", **headers)
            assert (status, len(body), len(upstream.requests)) == (200, 1 << 20, 1)
