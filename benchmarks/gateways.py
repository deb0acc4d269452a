"""The gateway's rows: `oo serve` and a bare aiohttp reverse proxy, under the same load over the same upstream."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import NamedTuple

from benchmarks.load import BODY, keyed, request
from benchmarks.measure import FLOOR, ROOT, Measured, Row, paired
from benchmarks.processes import keeping_bytecode, spent
from benchmarks.upstream import Running, free_port, relay, wait_for

SECONDS = 2.0
"""How long a load lasts."""
BARE = "bare aiohttp proxy"
CONNECTIONS = (16, 64, 256)
WORKERS = (2, 4)


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
        environment = {**keeping_bytecode(), "OO_HOME": home, **({"OO_STORE": store} if store else {})}

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
def running(command: Sequence[str], port: int, environment: Mapping[str, str], seconds: float = 10.0) -> Iterator[int]:
    """The process id of a server, while it runs; TimeoutError where it does not listen within so long."""
    process = subprocess.Popen(command, env=environment, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(port, seconds, process)
        yield process.pid
    finally:
        ended(process)


def ended(process: subprocess.Popen[bytes]) -> None:
    """End a process: the other way where it does not as it was asked to."""
    process.terminate()
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class Load:
    """Calls of one kind to a server: how many a second it answers, and its own time for each. `each` is how many things
    a call stands for, where they are counted: the tokens of a stream."""

    def __init__(self, port: int, pid: int, sent: bytes, *, connections: int = 16, each: int = 1) -> None:
        self._pid = pid
        self._command = [sys.executable, "-m", "benchmarks.load", str(port), str(connections), str(SECONDS)]
        self._sent = sent
        self._each = each
        self.late: list[float] = []
        """The 99th percentile of each round, in milliseconds."""

    def __call__(self) -> Measured:
        before = spent(self._pid)
        done = subprocess.run(self._command, input=self._sent, capture_output=True, check=True, cwd=ROOT)
        rate, late, calls = (float(word) for word in done.stdout.split())
        self.late.append(late)
        return Measured(rate * self._each, (spent(self._pid) - before) / (calls * self._each))


def chat(token: str) -> bytes:
    return request("POST", "/api/proxy/v1/chat/completions", token, BODY)


@contextmanager
def bare_proxy(upstream: str) -> Iterator[Running]:
    port = free_port()
    with running(bare_command(port, upstream), port, os.environ) as pid:
        yield Running(port, pid)


def bare_command(port: int, upstream: str) -> list[str]:
    return [sys.executable, "-m", "benchmarks.bare_proxy", str(port), upstream]


def gateway_rows(upstream: str, rounds: int) -> Iterator[Row]:
    """Throughput of a secret, and of a proxied chat against the bare proxy and nginx."""
    with gateway(upstream) as served, bare_proxy(upstream) as bare, relay(upstream) as floor:
        plain = chat(served.route)

        def row(name: str, sent: bytes, target: float) -> Row:
            sides = {"ours": Load(served.port, served.pid, sent), BARE: Load(bare.port, bare.pid, plain)}
            return paired(name, "/s", rounds, sides | at_floor(floor, plain), target, BARE, at_least=True)

        yield row("gateway-chat", plain, 0.8)
        yield row("gateway-chat, counted", chat(served.counted_route), 0.45)
        yield row("gateway-chat, keyed", keyed(plain), 0.35)
        for what, token in (("", served.secret), (", counted", served.counted)):
            sent = request("GET", "/api/secret", token)
            sides = {"ours": Load(served.port, served.pid, sent)}
            yield paired(f"gateway-secret{what}", "/s", rounds, sides | at_floor(floor, sent))


def at_floor(floor: Running | None, sent: bytes, connections: int = 16, each: int = 1) -> dict[str, Load]:
    """The side of nginx, where it is installed."""
    return {FLOOR: Load(floor.port, floor.pid, sent, connections=connections, each=each)} if floor else {}


def growth_rows(upstream: str, rounds: int) -> Iterator[Row]:
    """A chat of more connections, and of more workers."""
    with ExitStack() as stack:
        served = stack.enter_context(gateway(upstream))
        bare, floor = stack.enter_context(bare_proxy(upstream)), stack.enter_context(relay(upstream))
        for number in CONNECTIONS:
            sides = {
                "ours": Load(served.port, served.pid, chat(served.route), connections=number),
                BARE: Load(bare.port, bare.pid, chat(served.route), connections=number),
            }
            sides |= at_floor(floor, chat(served.route), number)
            yield paired(f"gateway-chat, {number} connections", "/s", rounds, sides)
        for workers in WORKERS:
            with gateway(upstream, serve=("--workers", str(workers))) as many:
                sides = {
                    "ours": Load(many.port, many.pid, chat(many.route), connections=64),
                    "1 worker": Load(served.port, served.pid, chat(served.route), connections=64),
                }
                sides |= at_floor(floor, chat(served.route), 64)
                yield paired(f"gateway-chat, {workers} workers", "/s", rounds, sides)


def metrics_rows(upstream: str, rounds: int) -> Iterator[Row]:
    """What it costs to count for Prometheus: the processor's time of a call, which others on the machine disturb less
    than they disturb throughput."""
    with gateway(upstream) as plain, gateway(upstream, metrics=True) as counting, relay(upstream) as floor:
        for name in ("chat", "secret"):
            loads: dict[str, Load] = {}
            for side, served in (("ours", counting), ("without", plain)):
                sent = chat(served.route) if name == "chat" else request("GET", "/api/secret", served.secret)
                loads[side] = Load(served.port, served.pid, sent)
            sides = {side: partial(_own_time, load) for side, load in (loads | at_floor(floor, sent)).items()}
            yield paired(f"gateway-{name}, metrics", "us", rounds, sides, 1.03, "without")


def _own_time(load: Load) -> float:
    """Microseconds of the processor that a call takes in a gateway."""
    return load().cpu or 0.0
