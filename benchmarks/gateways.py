"""The gateway's rows: `oo serve` and a bare aiohttp reverse proxy, under the same load over the same upstream."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple
from urllib.parse import urlsplit

from benchmarks.load import keyed, request
from benchmarks.measure import ROOT, Row, paired
from benchmarks.upstream import free_port, wait_for
from benchmarks.worker import PAYLOAD

BODY = json.dumps(PAYLOAD).encode()


class Served(NamedTuple):
    """A running gateway, and what opens it."""

    port: int
    pid: int
    secret: str
    route: str
    counted: str
    counted_route: str


@contextmanager
def gateway(
    upstream: str, store: str | None = None, ca: str | None = None, *, metrics: bool = False, serve: Sequence[str] = ()
) -> Iterator[Served]:
    """`oo serve` over a vault of its own, or an empty database, a route to the upstream in it, which trusts `ca`. With
    `metrics` it counts for Prometheus; `serve` are further options."""
    with tempfile.TemporaryDirectory() as home:
        environment = {**os.environ, "OO_HOME": home, **({"OO_STORE": store} if store else {})}

        def oo(*arguments: str, value: str = "") -> str:
            command = [sys.executable, "-m", "oo.cli", *arguments]
            done = subprocess.run(
                command, env=environment, input=value, capture_output=True, text=True, check=True, cwd=ROOT
            )
            return done.stdout.strip()

        oo("init")
        oo("secret", "set", "key", "--from-file", "-", value="the-key-of-the-api")
        inject = ("--inject", "Authorization: Bearer {key}", "--allow-private")
        oo("route", "set", "api", "--upstream", upstream, *inject, *(("--ca", ca) if ca else ()))
        counted = oo("token", "issue", "--secret", "key", "--uses", "1000000000")
        limited = oo("token", "issue", "--route", "api", "--uses", "1000000000")
        tokens = oo("token", "issue", "--secret", "key"), oo("token", "issue", "--route", "api"), counted, limited
        port = free_port()
        command = [sys.executable, "-m", "oo.cli", "serve", "--port", str(port), *serve]
        command += ["--admin", os.path.join(home, "admin.sock")] if metrics else []
        with running(command, port, environment) as pid:
            yield Served(port, pid, *tokens)


@contextmanager
def running(command: list[str], port: int, environment: dict[str, str]) -> Iterator[int]:
    """The process id of a server, while it runs."""
    process = subprocess.Popen(command, env=environment, cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        wait_for(port)
        yield process.pid
    finally:
        process.terminate()
        process.wait(15)


def loaded(port: int, sent: bytes, seconds: float, connections: int = 16) -> Callable[[], float]:
    """Requests a second that a server answers."""
    command = [sys.executable, "-m", "benchmarks.load", str(port), str(connections), str(seconds)]

    def measure() -> float:
        done = subprocess.run(command, input=sent, capture_output=True, check=True, cwd=ROOT)
        return float(done.stdout.split()[0])

    return measure


def gateway_rows(upstream: str, server: str, rounds: int, seconds: float) -> Iterator[Row]:
    """Throughput of a secret, and of a proxied chat against the bare proxy (and nginx, where it is the upstream)."""
    bare_port = free_port()
    bare = [sys.executable, "-m", "benchmarks.bare_proxy", str(bare_port), upstream]
    with gateway(upstream) as served, running(bare, bare_port, dict(os.environ)):
        chat = request("POST", "/api/proxy/v1/chat/completions", served.route, BODY)
        sides = {
            "ours": loaded(served.port, chat, seconds),
            "bare aiohttp proxy": loaded(bare_port, chat, seconds),
        }
        if server == "nginx":
            relayed = request("POST", "/relay/v1/chat/completions", served.route, BODY)
            sides["nginx"] = loaded(urlsplit(upstream).port or 80, relayed, seconds)
        yield paired("gateway-chat", "/s", rounds, sides, 0.8, "bare aiohttp proxy", at_least=True)
        counted = request("POST", "/api/proxy/v1/chat/completions", served.counted_route, BODY)
        for name, sent, target in (("counted", counted, 0.45), ("keyed", keyed(chat), 0.35)):
            sides["ours"] = loaded(served.port, sent, seconds)
            yield paired(f"gateway-chat, {name}", "/s", rounds, sides, target, "bare aiohttp proxy", at_least=True)
        secret = request("GET", "/api/secret", served.secret)
        yield paired("gateway-secret", "/s", rounds, {"ours": loaded(served.port, secret, seconds)})


def metrics_rows(upstream: str, rounds: int, seconds: float) -> Iterator[Row]:
    """What it costs to count for Prometheus: the processor's time of a call, which others on the machine disturb less
    than they disturb throughput."""
    with gateway(upstream) as plain, gateway(upstream, metrics=True) as counting:
        for name in ("chat", "secret"):
            sides: dict[str, Callable[[], float]] = {}
            for side, served in (("ours", counting), ("without", plain)):
                sent = request("GET", "/api/secret", served.secret)
                if name == "chat":
                    sent = request("POST", "/api/proxy/v1/chat/completions", served.route, BODY)
                sides[side] = partial(_processor, served, loaded(served.port, sent, seconds), seconds)
            yield paired(f"gateway-{name}, metrics", "us", rounds, sides, 1.03, "without")


def _processor(served: Served, load: Callable[[], float], seconds: float) -> float:
    """Microseconds of the processor that a call takes in a gateway."""
    before = _spent(served.pid)
    calls = load() * seconds
    return (_spent(served.pid) - before) / calls


def _spent(pid: int) -> float:
    """Microseconds that all threads of a process have run (clock_getcpuclockid(3), as Linux numbers that clock)."""
    return time.clock_gettime(~pid << 3 | 2) * 1e6
