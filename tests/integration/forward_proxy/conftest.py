from __future__ import annotations

import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import oo.testing
from oo.testing import BackgroundLoop
from tests.support import tunnels
from tests.support.names import resolving
from tests.support.private_hosts import ADDRESSES, OpenAIOverTLS, PrivateCA
from tests.support.tunnels import Proxied

KEY = "sk-the-real-key-0123456789"


@pytest.fixture(params=["asyncio", "uvloop"])
def loops(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gateway, and the API, on either kind of event loop."""
    if request.param == "uvloop":
        uvloop = pytest.importorskip("uvloop")

        class Loop(uvloop.Loop):  # type: ignore[misc,name-defined]  # uvloop's own asks libuv, which knows none of our names
            async def getaddrinfo(self, *place: Any, **settings: Any) -> Any:
                return await self.run_in_executor(None, partial(socket.getaddrinfo, *place, **settings))

        monkeypatch.setattr("oo.testing.asyncio.new_event_loop", Loop)


@pytest.fixture
def authority(tmp_path: Path) -> PrivateCA:
    return PrivateCA(tmp_path)


@pytest.fixture
def api(authority: PrivateCA, monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenAIOverTLS]:
    """An API over TLS at https://api.test, which resolves to loopback."""
    resolving(monkeypatch, ADDRESSES)
    with BackgroundLoop() as background:
        yield background.enter(OpenAIOverTLS(authority.context()))


@pytest.fixture
def gateway(api: OpenAIOverTLS) -> Iterator[oo.testing.LocalGateway]:
    """A gateway that ends before the API does, whose connections it keeps."""
    with tunnels.gateway() as running:
        yield running


@pytest.fixture
def proxied(gateway: oo.testing.LocalGateway, api: OpenAIOverTLS, authority: PrivateCA, tmp_path: Path) -> Proxied:
    """A token whose route has that API, and what its holder trusts."""
    gateway.secret("key", KEY)
    gateway.route("api", api.url, {"Authorization": "Bearer {key}"}, ca=authority.pem, websocket=True)
    return Proxied(gateway, gateway.issue("route", "api"), tmp_path)
