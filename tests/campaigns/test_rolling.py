"""A gateway that is started anew, reloaded, and given a new certificate, under 200 calls a second: no call fails."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from oo.gateway.models import Route
from tests.support.certificates import self_signed
from tests.support.faults import answer, serving
from tests.support.processes import Home, needs_proc
from tests.support.waiting import PATIENCE

pytestmark = [pytest.mark.campaign, needs_proc]

SECONDS = float(os.environ.get("OO_CAMPAIGN_SECONDS", "10"))
RATE = 200  # calls a second
TURN = 2.0  # seconds between two changes


class Load:
    """Calls of both kinds, on connections that are kept and on new ones; `failed` holds what went wrong."""

    def __init__(self, url: str, secret: str, route: str) -> None:
        self.url, self._secret, self._route = url, secret, route
        self.failed: list[str] = []
        self.right = 0

    async def run(self, change: Callable[[], Awaitable[None]]) -> None:
        """Call for SECONDS, with a change every now and then."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        kept = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context, limit=20))
        new = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context, force_close=True))
        async with kept, new:
            changing = asyncio.create_task(self._change(change))
            calls: list[asyncio.Task[None]] = []
            began = time.monotonic()
            for number in range(int(SECONDS * RATE)):
                await asyncio.sleep(max(0.0, began + number / RATE - time.monotonic()))
                calls.append(asyncio.create_task(self._call(kept if number % 4 else new, number % 2 == 0)))
            await asyncio.gather(*calls)
            changing.cancel()

    async def _change(self, change: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(TURN)
            await change()

    async def _call(self, session: aiohttp.ClientSession, fetches: bool) -> None:
        # A POST: a GET would be sent again by aiohttp itself where its connection was closed.
        path, token = ("/api/secret", self._secret) if fetches else ("/api/proxy/x", self._route)
        method = "GET" if fetches else "POST"
        try:
            headers = {"Authorization": f"Bearer {token}"}
            async with session.request(method, f"{self.url}{path}", headers=headers) as response:
                body = await response.read()
            if response.status == 200:
                self.right += 1
            else:
                self.failed.append(f"{response.status} {body!r}")
        except (OSError, aiohttp.ClientError, asyncio.TimeoutError) as error:
            self.failed.append(f"{method} {error!r}")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home").made(a="value of a")


@contextmanager
def tokens(home: Home) -> Iterator[tuple[str, str]]:
    with serving(reply=lambda _sent: answer(b'{"x": 1}')) as upstream:
        home.run(lambda vault: vault.put_route(Route("api", upstream.url, allow_private=True)))
        yield home.token("secret", "a"), home.token("route", "api")


def passed(load: Load) -> None:
    assert load.failed == []
    assert load.right == int(SECONDS * RATE)


def test_a_gateway_is_replaced_by_another_on_the_same_port(home: Home, tmp_path: Path) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = str(sock.getsockname()[1])
    logs = iter(range(1000))
    running: list[subprocess.Popen[bytes]] = []

    async def start() -> None:
        log = tmp_path / f"log{next(logs)}"
        with open(log, "wb") as stderr:
            running.append(home.start("serve", "--port", port, "--workers", "2", "--reuse-port", stderr=stderr))
        end = time.monotonic() + PATIENCE
        while "version" not in log.read_text():
            assert time.monotonic() < end
            await asyncio.sleep(0.02)

    async def replace() -> None:
        await start()
        running[-2].terminate()
        assert await asyncio.to_thread(running[-2].wait, PATIENCE) == 0

    with tokens(home) as (secret, route):
        asyncio.run(start())
        time.sleep(1)
        load = Load(f"http://127.0.0.1:{port}", secret, route)
        try:
            asyncio.run(load.run(replace))
        finally:
            for process in running:
                process.terminate()
                process.wait(PATIENCE)
        assert len(running) > 2
        passed(load)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_it_is_reloaded_and_its_workers_replaced(home: Home, tmp_path: Path, workers: str) -> None:
    file = tmp_path / "gateway.toml"
    graces = iter(range(20, 1000))

    def settings() -> None:
        file.write_text(f"workers = {workers}\ngrace = {next(graces)}\n")

    async def reload() -> None:
        settings()
        served.process.send_signal(signal.SIGHUP)

    settings()
    with tokens(home) as (secret, route), home.serve("--config", str(file)) as served:
        load = Load(served.url, secret, route)
        asyncio.run(load.run(reload))
        passed(load)


def test_its_certificate_is_renewed(home: Home, tmp_path: Path) -> None:
    made: list[Any] = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        made.append(self_signed(tmp_path / name, "127.0.0.1"))
    cert, key = tmp_path / "cert", tmp_path / "key"

    async def renew() -> None:
        made.reverse()
        for source, place in ((made[0].file, cert), (made[0].both, key)):
            shutil.copy(source, tmp_path / "new")
            os.replace(tmp_path / "new", place)

    asyncio.run(renew())
    with tokens(home) as (secret, route):
        with home.serve("--workers", "2", "--tls-cert", str(cert), "--tls-key", str(key)) as served:
            load = Load(served.url, secret, route)
            asyncio.run(load.run(renew))
        assert "the TLS files were read again" in served.log
        passed(load)
