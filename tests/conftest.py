"""What every test stands on: the two worlds, a gateway, a fresh process."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

import oo
import oo.testing
from oo._client.api import forget_clients
from oo._core.masking import seen_values
from oo.middleware import shared_cache
from oo.testing import BackgroundLoop
from tests.support.bao import Bao
from tests.support.bao import running as running_bao
from tests.support.fresh import ROOT, Fresh, build
from tests.support.upstream import OpenAI
from tests.support.worlds import World

pytest_plugins = ["tests.support.command"]

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
    with BackgroundLoop() as background:
        yield background.enter(OpenAI())


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This project's wheel, built from the checkout."""
    return build([ROOT], tmp_path_factory.mktemp("wheel") / "wheels")[0]


@pytest.fixture(scope="session")
def core(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Fresh:
    """An environment with double-o and no extra."""
    return Fresh(tmp_path_factory.mktemp("core"), [wheel])


@pytest.fixture(scope="session")
def postgres_engine() -> Iterator[str]:
    """The URL of a PostgreSQL, as a superuser. A test that needs one fails where none starts."""
    from tests.support.postgres import running

    with running() as url:
        yield url


@pytest.fixture
def postgres(postgres_engine: str) -> Iterator[str]:
    """The URL of an empty database."""
    from tests.support.postgres import database

    with database(postgres_engine) as url:
        yield url


@pytest.fixture(scope="session")
def bao() -> Iterator[Bao]:
    """An OpenBao with a transit key."""
    with running_bao() as started:
        yield started


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No test sees another's answers or this machine's settings."""
    for name in list(os.environ):
        if name in ("OO_BASE_URL", "OO_PLUGINS", "OO_TOKEN", "OO_STORE", "OO_KMS") or name.lower().endswith(
            ("_proxy", "_ca_bundle", "netrc", "ssl_cert_file", "ssl_cert_dir")
        ):
            monkeypatch.delenv(name)
    monkeypatch.setattr("oo._client.base._warned", set())
    shared_cache().clear()
    seen_values.__init__()  # type: ignore[misc]  # as it was at the start of the process
    yield
    shared_cache().clear()
    forget_clients()
