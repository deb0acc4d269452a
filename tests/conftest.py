"""The two worlds. A test that takes `world` is written once, as plain calls, and runs blocking and under asyncio."""

from __future__ import annotations

import asyncio
import inspect
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

import oo
import oo.testing
from oo._functions import forget_clients
from oo._io import IO, BlockingIO, LoopIO
from oo._masking import met
from oo.middleware import shared_cache
from oo.server.background import Background

from .fresh import ROOT, Fresh, build
from .upstream import OpenAI


class Calls:
    """A client of either world, called as the blocking one is."""

    def __init__(self, world: World, client: Any) -> None:
        self.world = world
        self.client = client

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.client, name)
        if not callable(found):
            return found
        return lambda *args, **kwargs: self.world.run(lambda: found(*args, **kwargs))


class World:
    """One of the two: `client()` makes a client, `together()` makes calls at the same time."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.blocking = name == "blocking"
        self.loop = None if self.blocking else asyncio.new_event_loop()
        self._clients: list[Any] = []

    def client(self, *args: Any, **kwargs: Any) -> Any:
        client = (oo.Client if self.blocking else oo.AsyncClient)(*args, **kwargs)
        self._clients.append(client)
        return Calls(self, client)

    def io(self) -> IO:
        return BlockingIO() if self.blocking else LoopIO()

    def clock(self) -> oo.testing.VirtualClock:
        return oo.testing.VirtualClock(self.io())

    def run(self, call: Callable[[], Any]) -> Any:
        if self.loop is None:
            return call()

        async def awaited() -> Any:
            value = call()
            return await value if inspect.isawaitable(value) else value

        return self.loop.run_until_complete(awaited())

    def together(self, *calls: Callable[[], Any]) -> list[Any]:
        """What each call gave or raised. A call is a lambda over `client.client`, such as
        `lambda: client.client.get_secret(token)`."""
        if self.loop is not None:

            async def gathered() -> list[Any]:
                return await asyncio.gather(*(call() for call in calls), return_exceptions=True)

            return self.loop.run_until_complete(gathered())
        results: list[Any] = [None] * len(calls)

        def one(index: int) -> None:
            try:
                results[index] = calls[index]()
            except BaseException as error:
                results[index] = error

        threads = [threading.Thread(target=one, args=(index,), daemon=True) for index in range(len(calls))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        return results

    def close(self) -> None:
        for client in self._clients:
            self.run(client.close)
        if self.loop is not None:
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
            self.loop.close()


# A suite that a script starts in the background ignores Ctrl-C, and what it starts inherits that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


# A property says what is true, not how fast: a busy machine fails none.
settings.register_profile("suite", deadline=None)
settings.load_profile("suite")


@pytest.hookimpl(optionalhook=True)  # -p no:xdist
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One more than there are cores: many tests wait for a process or a clock."""
    return (os.cpu_count() or 1) + 1


@pytest.fixture(params=["blocking", "asyncio"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    world = World(request.param)
    yield world
    world.close()


@pytest.fixture
def gateway() -> Iterator[oo.testing.LocalGateway]:
    with oo.testing.gateway() as running:
        yield running


@pytest.fixture
def openai() -> Iterator[OpenAI]:
    with Background() as background:
        yield background.enter(OpenAI())


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This project's wheel, built from the checkout."""
    return build([ROOT], tmp_path_factory.mktemp("wheel") / "wheels")[0]


@pytest.fixture(scope="session")
def core(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Fresh:
    """An environment with double-o and no extra."""
    return Fresh(tmp_path_factory.mktemp("core"), [wheel])


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No test sees another's answers or this machine's settings."""
    for name in list(os.environ):
        if name in ("OO_BASE_URL", "OO_PLUGINS", "OO_TOKEN") or name.lower().endswith(
            ("_proxy", "_ca_bundle", "netrc")
        ):
            monkeypatch.delenv(name)
    monkeypatch.setattr("oo._client._warned", set())
    shared_cache().clear()
    met.__init__()  # type: ignore[misc]  # as it was at the start of the process
    yield
    shared_cache().clear()
    forget_clients()
