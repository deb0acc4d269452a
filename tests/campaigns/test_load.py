"""`oo serve` under load, in its own process, with a good client beside it.

Seconds and hundreds in the suite; `OO_LOAD=full pytest -n 0 -s tests/campaigns/test_load.py` takes the real limits and
a thousand slow callers, and prints what it measures.
"""

from __future__ import annotations

import http.client
import os
import resource
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import oo
from oo.gateway.audit_log import AUDIT_FILE, REFUSALS
from oo.gateway.models import Route
from tests.support.certificates import self_signed
from tests.support.processes import Got, Home, Serving, get, needs_proc, until
from tests.support.waiting import PATIENCE

FULL = os.environ.get("OO_LOAD") == "full"
CALLS = 1000 if FULL else 200
CROWD = {"silent": 250, "half": 250, "head": 250, "body": 125, "unread": 125}
SMALL = {kind: count // 5 for kind, count in CROWD.items()}
NOISE = 0.005  # seconds: what this machine does besides

pytestmark = [pytest.mark.campaign, needs_proc]


class Limited(Home):
    """A home whose servers may have so many files open."""

    files = 0

    def start(self, *args: str, **streams: object) -> subprocess.Popen[bytes]:
        command = ["sh", "-c", f'ulimit -n {self.files}; exec "$@"', "sh", sys.executable, "-m", "oo.cli", *args]
        return subprocess.Popen(command, env=self.environ, **streams)  # type: ignore[call-overload,no-any-return]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Limited:
    home = Limited(tmp_path_factory.mktemp("load") / "home")
    home.made(a="value", big="x" * (500 << 10))
    home.run(lambda vault: vault.put_route(Route("r", "http://127.0.0.1:9", allow_private=True)))
    return home


@pytest.fixture(scope="module")
def tokens(home: Limited) -> tuple[str, str, str]:
    """For the small secret, for the large one, and for the route."""
    return home.token("secret", "a"), home.token("secret", "big"), home.token("route", "r")


@contextmanager
def crowd(url: str, tokens: tuple[str, str, str], counts: dict[str, int], seconds: float) -> Iterator[None]:
    """Slow callers, all connected, while the block runs."""
    words = [f"{kind}={count}" for kind, count in counts.items()]
    command = [sys.executable, "-m", "tests.support.attackers", url, str(seconds), *words]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(" ".join(tokens[1:]))
            process.stdin.close()
            assert process.stdout.readline() == "up\n"
            yield
        finally:
            process.kill()


def latency(client: oo.Client, token: str, calls: int = CALLS) -> tuple[float, float]:
    """The median and the 95th percentile of some calls, in seconds."""
    times = []
    for _ in range(calls):
        began = time.perf_counter()
        assert client.get_secret(token) == "value"
        times.append(time.perf_counter() - began)
    times.sort()
    return times[len(times) // 2], times[len(times) * 95 // 100]


def flood(url: str, seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.support.flood", url, str(seconds), "64"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    return process


def memory(served: Serving) -> int:
    """Megabytes."""
    return int(Path(f"/proc/{served.process.pid}/statm").read_text().split()[1]) * resource.getpagesize() >> 20


def opened(served: Serving) -> int:
    return len(list(Path(f"/proc/{served.process.pid}/fd").iterdir()))


def test_a_good_client_keeps_its_latency_beside_a_thousand_slow_callers(
    home: Limited, tokens: tuple[str, str, str]
) -> None:
    home.files = 4096
    with home.serve() as served, oo.Client(served.url) as client:
        idle = opened(served)
        alone = min(latency(client, tokens[0]) for _ in range(3))
        with crowd(served.url, tokens, CROWD, 60):
            began = time.monotonic()
            until(lambda: opened(served) > 1000)
            crowded = min(latency(client, tokens[0]) for _ in range(3))
            assert get(served.url, tokens[0]).status == 200
            if FULL:
                print(f"alone {alone}, crowded {crowded} (seconds: median, p95)")
                print(f"{opened(served)} files, {memory(served)} MB")
                # Those without a head go after 10 s, the others after 30.
                for at, kept in ((13, 250), (34, 0)):
                    time.sleep(began + at - time.monotonic())
                    print(f"after {at} s {opened(served)} files; {latency(client, tokens[0])}")
                    assert opened(served) <= idle + kept + 5
        # The slowest calls in the suite tell of the tests beside it.
        for then, now in list(zip(alone, crowded, strict=True))[: 2 if FULL else 1]:
            assert now < 2 * then + NOISE
        until(lambda: opened(served) < idle + 5)
        assert served.log.count("\n") == 2  # that it listens, and on what


def test_with_few_files_the_slow_callers_give_way_to_the_good(home: Limited, tokens: tuple[str, str, str]) -> None:
    home.files = 256
    with home.serve() as served, oo.Client(served.url) as client:
        client.get_secret(tokens[0])
        with crowd(served.url, tokens, {**SMALL, "body": 0}, 60):
            until(lambda: opened(served) < 60)  # 32, and what is no connection
            latency(client, tokens[0])
            assert {get(served.url, tokens[0]).status for _ in range(20)} == {200}
        assert served.log.count("\n") == 2  # that it listens, and on what


def test_where_no_file_is_left_it_says_so_once_and_goes_on(
    home: Limited, tokens: tuple[str, str, str], tmp_path: Path
) -> None:
    home.files = 200
    certificate = self_signed(tmp_path, "127.0.0.1").file
    options = ["--tls-cert", certificate, "--tls-key", certificate.replace(".pem", ".both")]
    with home.serve(*options) as served, ExitStack() as stack:

        def connection() -> http.client.HTTPSConnection:
            context = ssl._create_unverified_context()
            made = http.client.HTTPSConnection(urlsplit(served.url).netloc, timeout=10, context=context)
            return stack.enter_context(closing(made))

        def ask(connection: http.client.HTTPSConnection) -> int:
            connection.request("GET", "/api/secret", headers={"Authorization": f"Bearer {tokens[0]}"})
            return Got(connection.getresponse()).status

        kept = connection()
        assert ask(kept) == 200
        # A TLS handshake is no connection before it is done, and so is not counted among them.
        silent = [stack.enter_context(connecting(served.url)) for _ in range(250)]
        until(lambda: "Too many open files" in served.log)
        for _ in range(10):
            assert ask(kept) == 200
            time.sleep(0.05)
        for sock in silent:
            sock.close()
        until(lambda: len(os.listdir(f"/proc/{served.process.pid}/fd")) < 100)
        assert ask(connection()) == 200
        assert served.log.count("\n") == 3


def connecting(url: str) -> socket.socket:
    address = urlsplit(url)
    sock = socket.socket()
    sock.setblocking(False)
    with suppress(BlockingIOError):
        sock.connect((address.hostname, address.port))
    return sock


def test_a_flood_of_bad_tokens_costs_neither_memory_nor_disk(home: Limited, tokens: tuple[str, str, str]) -> None:
    home.files = 4096
    seconds = 20 if FULL else 6  # longer than the calls beside it take on a busy machine
    with home.serve() as served, oo.Client(served.url) as client:
        alone = latency(client, tokens[0])
        flood(served.url, 0.5).communicate(timeout=PATIENCE)  # what it needs at first is no leak
        before, size, began = memory(served), (home.path / AUDIT_FILE).stat().st_size, time.monotonic()
        process = flood(served.url, seconds)
        time.sleep(0.2)
        flooded = min((latency(client, tokens[0], CALLS // 15) for _ in range(3)), key=lambda each: each[1])
        assert process.poll() is None
        refused, _ = process.communicate(timeout=seconds + 30)
        assert process.returncode == 0
        lasted = time.monotonic() - began
        time.sleep(1.1)  # the last of it is summed up
        lines = (home.path / AUDIT_FILE).read_bytes()[size:]
        print(f"{int(refused) / lasted:.0f}/s; alone {alone}, flooded {flooded}; {before} to {memory(served)} MB")
        print(f"{len(lines)} bytes of audit in {lasted:.1f} s")
        assert memory(served) <= before + 3
        allowed = 2 * lines.count(b'"allowed"')  # each has a line when it begins, too
        assert lines.count(b"\n") - allowed <= (REFUSALS + 3) * (lasted + 2)
        counted = lines.count(b"\n") - allowed
        assert int(refused) > 2 * counted
        # A good call is answered sooner than the 16 that each of the flood's 64 connections sends in one go.
        assert flooded[1] < 64 * 16 * lasted / int(refused)
        assert served.get(tokens[0]).status == 200
