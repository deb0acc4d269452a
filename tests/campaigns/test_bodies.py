"""Bodies far larger than memory should be, through `oo serve` in its own process.

512 MiB each way; `OO_BODIES=5120 pytest -n 0 -s -m campaign tests/campaigns/test_bodies.py` takes 5 GiB and prints
what it measures.
"""

from __future__ import annotations

import http.client
import os
import socket
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from oo.gateway.models import Route
from tests.support.listening import Listener
from tests.support.processes import Home, Serving, needs_proc
from tests.support.waiting import PATIENCE

MIB = int(os.environ.get("OO_BODIES", "512"))
GROWTH = 16  # MiB that the gateway may grow by
PIECE = bytes(range(32, 96)) * (1 << 14)  # 1 MiB
KEY = "the-real-key-of-the-api"

pytestmark = [pytest.mark.campaign, needs_proc]


class Mirror(Listener):
    """Counts a body, and sends one of the same size."""

    def __init__(self) -> None:
        self.taken = 0
        super().__init__()

    def accepted(self, connection: socket.socket) -> None:
        connection.settimeout(PATIENCE)
        self.start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            reader = connection.makefile("rb")
            while (line := reader.readline()) not in (b"\r\n", b""):
                pass
            buffer, left = bytearray(1 << 20), MIB << 20
            while left and (size := reader.readinto(memoryview(buffer)[: min(left, 1 << 20)])):
                left -= size
                self.taken += size
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (MIB << 20))
            for _ in range(MIB):
                connection.sendall(PIECE)
            assert line


def rss(serving: Serving) -> float:
    """The memory that a process holds now, in MiB."""
    status = Path(f"/proc/{serving.process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home").made()


@pytest.mark.parametrize("masked", [True, False], ids=["masked", "plain"])
def test_a_body_takes_no_memory_either_way(home: Home, masked: bool) -> None:
    home.secret("key", KEY)
    inject = {"Authorization": "Bearer {key}"} if masked else {}
    with Mirror() as upstream, home.serve() as serving:
        home.run(lambda vault: vault.put_route(Route("r", upstream.url, inject, allow_private=True)))
        token = home.token("route", "r")
        before = most = rss(serving)
        over = threading.Event()

        def watch() -> None:
            nonlocal most
            while not over.wait(0.02):
                most = max(most, rss(serving))

        watcher = threading.Thread(target=watch)
        watcher.start()
        began = time.monotonic()
        try:
            connection = http.client.HTTPConnection(urlsplit(serving.url).netloc, timeout=PATIENCE)
            fields = {"Authorization": f"Bearer {token}", "Content-Length": str(MIB << 20)}
            connection.request("POST", "/api/proxy/x", (PIECE for _ in range(MIB)), fields)
            up = time.monotonic() - began
            answer = connection.getresponse()
            assert answer.status == 200
            size, buffer = 0, bytearray(1 << 20)
            while count := answer.readinto(buffer):
                size += count
            connection.close()
        finally:
            over.set()
            watcher.join()
        down = time.monotonic() - began - up
        assert (upstream.taken, size) == (MIB << 20, MIB << 20)
        print(f"\n{MIB} MiB up in {up:.1f} s, down in {down:.1f} s: {before:.1f} MiB grew to {most:.1f}")
        assert most - before <= GROWTH
