"""The gateway's rows: `oo serve` and a bare aiohttp reverse proxy, under the same load over the same upstream."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple
from urllib.parse import urlsplit

from benchmarks.load import request
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


@contextmanager
def gateway(upstream: str, store: str | None = None) -> Iterator[Served]:
    """`oo serve` over a vault of its own, or an empty database, a route to the upstream in it."""
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
        oo("route", "set", "api", "--upstream", upstream, "--inject", "Authorization: Bearer {key}", "--allow-private")
        counted = oo("token", "issue", "--secret", "key", "--uses", "1000000000")
        tokens = oo("token", "issue", "--secret", "key"), oo("token", "issue", "--route", "api"), counted
        port = free_port()
        with running([sys.executable, "-m", "oo.cli", "serve", "--port", str(port)], port, environment) as pid:
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
        yield paired("gateway-chat", "/s", rounds, sides, 0.6, "bare aiohttp proxy", at_least=True)
        secret = request("GET", "/api/secret", served.secret)
        yield paired("gateway-secret", "/s", rounds, {"ours": loaded(served.port, secret, seconds)})
