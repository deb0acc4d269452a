"""An error that a plugin's middleware raises names the plugin, however that is written, in all three worlds."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Any

import pytest

import oo
import oo.testing
from oo import _plugins
from oo.gateway.app import Gateway
from oo.testing import BackgroundLoop, MockTransport
from tests.support.faults import CLOSE, READ, answer, serving
from tests.support.worlds import World

TOKEN = "a-token-for-plugins"
NOTE = "raised by the middleware of plugin deny of distribution acme-deny"


class Base:
    async def __call__(self, request: oo.Request, call_next: oo.CallNext) -> oo.Response:
        raise ValueError("of the plugin")


class Derived(Base):
    pass


async def function(request: oo.Request, call_next: oo.CallNext) -> oo.Response:
    _helper()
    return await call_next(request)


def _helper() -> None:
    raise ValueError("of the plugin")


def closure() -> oo.Middleware:
    what = "of the plugin"

    async def within(request: oo.Request, call_next: oo.CallNext) -> oo.Response:
        response = await call_next(request)
        if response:
            raise ValueError(what)
        return response

    return within


async def configured(request: oo.Request, call_next: oo.CallNext, *, what: str) -> oo.Response:
    raise ValueError(what)


class Late:
    """Raises as the answer's body is read."""

    async def __call__(self, request: oo.Request, call_next: oo.CallNext) -> oo.Response:
        return (await call_next(request)).replace(body=b"", stream=oo.Body(self.pieces()))

    async def pieces(self) -> AsyncIterator[bytes]:
        yield b"one"
        raise ValueError("of the plugin")


async def late(request: oo.Request, call_next: oo.CallNext) -> oo.Response:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"one"
        _helper()

    return (await call_next(request)).replace(body=b"", stream=oo.Body(pieces()))


FORMS: dict[str, oo.Middleware] = {
    "a class": Base(),
    "a derived class": Derived(),
    "a function": function,
    "a closure": closure(),
    "a partial": partial(configured, what="of the plugin"),
    "an async generator": Late(),
    "an async generator of a closure": late,
}


class Offering:
    def __init__(self, *offers: tuple[oo.Slot, oo.Middleware]) -> None:
        self.offers = offers

    @oo.hookimpl
    def oo_middleware(self, client: oo.ClientInfo) -> Any:
        return self.offers


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    added: list[str] = []
    monkeypatch.setattr(_plugins.plugins, "_origins", {})

    def add(middleware: oo.Middleware, slot: oo.Slot = oo.Slot.CALL, name: str = "deny") -> None:
        oo.register(Offering((slot, middleware)), name)
        _plugins.plugins._distributions[name] = f"acme-{name}"
        added.append(name)

    yield add
    for name in added:
        oo.unregister(name)


def told(error: BaseException) -> list[str]:
    return [str(error), *getattr(error, "__notes__", [])]


def read(world: World, client: Any) -> None:
    """Read a stream to its end."""
    stream = client.stream("v1/x", TOKEN, "GET")

    async def awaited() -> None:
        async with stream:
            async for _ in stream.iter_bytes():
                pass

    def plain() -> None:
        with stream:
            list(stream.iter_bytes())

    world.run(plain if world.blocking else awaited)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("slot", list(oo.Slot))
def test_a_client_s_error_names_the_plugin(
    form: oo.Middleware, slot: oo.Slot, world: World, register: Callable[..., None]
) -> None:
    register(form, slot)
    client = world.client("http://127.0.0.1:1", transport=MockTransport(lambda _request: {}))
    with pytest.raises(ValueError, match="of the plugin") as caught:
        read(world, client)
    assert sum(NOTE in each for each in told(caught.value)) == 1


async def passing(request: oo.Request, call_next: oo.CallNext) -> oo.Response:
    return await call_next(request)


def test_an_error_of_another_names_no_plugin(world: World, register: Callable[..., None]) -> None:
    register(passing)
    client = world.client("http://127.0.0.1:1", transport=MockTransport([ValueError("of the transport")]))
    with pytest.raises(ValueError, match="of the transport") as caught:
        read(world, client)
    assert not any("plugin" in each for each in told(caught.value))


def test_a_body_that_breaks_off_names_no_plugin(world: World, register: Callable[..., None]) -> None:
    register(passing)
    with serving([READ, answer()[:-1], CLOSE]) as server, pytest.raises(oo.ProxyError) as caught:
        read(world, world.client(server.url))
    assert not any("plugin" in each for each in told(caught.value))


class Shared(Base):
    async def __call__(self, request: oo.Request, call_next: oo.CallNext) -> oo.Response:
        raise ValueError("of the plugin")


def test_of_plugins_that_share_their_code_each_is_named(world: World, register: Callable[..., None]) -> None:
    register(Shared())
    register(Shared(), name="other")
    client = world.client("http://127.0.0.1:1", transport=MockTransport(lambda _request: {}))
    with pytest.raises(ValueError, match="of the plugin") as caught:
        client.proxy("v1/x", TOKEN)
    assert any(f"{NOTE} or other of distribution acme-other" in each for each in told(caught.value))


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("slot", list(oo.Slot))
def test_a_gateway_s_log_names_the_plugin(
    form: oo.Middleware,
    slot: oo.Slot,
    gateway: oo.testing.LocalGateway,
    register: Callable[..., None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    register(form, slot)
    token = gateway.secret("a", "value")
    with caplog.at_level(logging.ERROR, "oo.gateway"), BackgroundLoop() as background:
        url = background.enter(Gateway(gateway.vault, plugins=["deny"])).url
        with oo.Client(url, plugins=False) as client, pytest.raises(oo.SecretError):
            client.get_secret(token)
    [line] = [record.getMessage() for record in caplog.records if record.name == "oo.gateway"]
    assert line.endswith(f"failed: ValueError, {NOTE}")
    assert "of the plugin" not in line
