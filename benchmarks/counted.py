"""What counting costs over HTTP, on either store: a counted secret against another, a keyed chat against another."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack

from benchmarks.gateways import BODY, Served, gateway
from benchmarks.load import keyed, request
from benchmarks.measure import ROOT, Row, paired
from benchmarks.stores import DISK

SECONDS = 2.0
_TICK = os.sysconf("SC_CLK_TCK")


class Load:
    """Calls of one kind to a gateway: how many a second it answers."""

    def __init__(self, served: Served, sent: bytes) -> None:
        self._pid = served.pid
        self._command = [sys.executable, "-m", "benchmarks.load", str(served.port), "16", str(SECONDS)]
        self._sent = sent
        self.rates: list[float] = []
        self.late: list[float] = []
        self.own: list[float] = []

    def __call__(self) -> float:
        before = cpu(self._pid)
        done = subprocess.run(self._command, input=self._sent, capture_output=True, check=True, cwd=ROOT)
        rate, late = (float(word) for word in done.stdout.split())
        self.rates.append(rate)
        self.late.append(late)
        self.own.append((cpu(self._pid) - before) / (rate * SECONDS) * 1e6)
        return rate


def cpu(pid: int) -> float:
    """Seconds that a process has worked for (proc(5), stat)."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def counted_rows(upstream: str, rounds: int) -> Iterator[Row]:
    """On SQLite, then on PostgreSQL, with one gateway."""
    from tests.support.postgres import database, running

    with ExitStack() as stack:
        os.environ["OO_STORE_REPLICATED"] = "1"
        stack.callback(os.environ.pop, "OO_STORE_REPLICATED")
        empty = stack.enter_context(database(stack.enter_context(running(DISK))))
        for engine, store in (("sqlite", None), ("postgres", empty)):
            with gateway(upstream, store) as served:
                yield from _rows(engine, served, rounds)


def _rows(engine: str, served: Served, rounds: int) -> Iterator[Row]:
    chat = request("POST", "/api/proxy/v1/chat/completions", served.route, BODY)
    secrets = {
        "counted": Load(served, request("GET", "/api/secret", served.counted)),
        "uncounted": Load(served, request("GET", "/api/secret", served.secret)),
    }
    yield paired(f"a secret on {engine}, counted", "/s", rounds, secrets, 0.6, "uncounted", at_least=True)
    yield from _beside(f"a secret on {engine}", secrets)
    if engine == "postgres":
        plain = secrets["uncounted"]
        rate = statistics.median(plain.rates[1:])
        yield Row("a secret on postgres, uncounted", "/s", {"ours": rate}, {}, 5000.0, at_least=True)
        yield Row("a secret on postgres, uncounted, p99", "ms", {"ours": statistics.median(plain.late[1:])}, {}, 10.0)
    chats = {"keyed": Load(served, keyed(chat)), "without": Load(served, chat)}
    yield paired(f"a chat on {engine}, keyed", "/s", rounds, chats, 0.5, "without", at_least=True)
    yield from _beside(f"a chat on {engine}", chats)


def _beside(name: str, loads: dict[str, Load]) -> Iterator[Row]:
    yield Row(f"{name}, p99", "ms", {side: statistics.median(load.late[1:]) for side, load in loads.items()})
    yield Row(f"{name}, own time", "us", {side: statistics.median(load.own[1:]) for side, load in loads.items()})
