"""The rows of the table. Each is a function of the bench that gives its lines."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator

from benchmarks import counting
from benchmarks.counted import counted_rows
from benchmarks.environment import peer_python
from benchmarks.footprint import footprint_rows
from benchmarks.gateways import gateway_rows, metrics_rows
from benchmarks.masks import mask_rows
from benchmarks.measure import Row, Side, paired
from benchmarks.pauses import pause_rows
from benchmarks.stores import move_rows, store_rows
from benchmarks.streams import stream_rows
from benchmarks.tunnels import tunnel_rows

US = 1e6


class Bench:
    """What the rows share: the upstream and its name, a worker of ours and one of 0.2.1, how many rounds."""

    def __init__(self, url: str, server: str, ours: Side, theirs: Side, rounds: int) -> None:
        self.url = url
        self.server = server
        self.ours = ours
        self.theirs = theirs
        self.rounds = rounds

    def both(self, name: str, measure: str, target: float, **arguments: int) -> Row:
        """A row of one measure in microseconds, against 0.2.1."""
        sides = {
            "ours": lambda: self.ours(measure, **arguments) * US,
            "0.2.1": lambda: self.theirs(measure, **arguments) * US,
        }
        return paired(name, "us", self.rounds, sides, target, "0.2.1")


def import_time(bench: Bench) -> Iterator[Row]:
    code = "import time; t = time.perf_counter(); import oo; print(time.perf_counter() - t)"

    def run(python: str) -> Callable[[], float]:
        return lambda: (
            float(subprocess.run([python, "-c", code], capture_output=True, check=True, cwd="/").stdout) * 1e3
        )

    sides = {"ours": run(sys.executable), "0.2.1": run(peer_python())}
    yield paired("import", "ms", max(bench.rounds, 9), sides, 0.15, "0.2.1")


def cached(bench: Bench) -> Iterator[Row]:
    yield bench.both("cached hit, sync", "cached_sync", 1.0, count=100_000)
    yield bench.both("cached hit, oo.get_secret", "cached_function", 1.0, count=100_000)
    yield bench.both("cached hit, async", "cached_async", 1.0, count=50_000)


def uncached(bench: Bench) -> Iterator[Row]:
    sides = {
        "ours": lambda: bench.ours("uncached", count=400) * US,
        "0.2.1": lambda: bench.theirs("uncached", count=400) * US,
        "Session": lambda: bench.theirs("uncached_session", count=400) * US,
        "urllib3": lambda: bench.theirs("uncached_urllib3", count=400) * US,
    }
    yield paired("uncached, 1 thread", "us", bench.rounds, sides, 1.15, "urllib3")


def threads(bench: Bench) -> Iterator[Row]:
    for number in (8, 32, 64):
        sides = {
            "ours": lambda n=number: bench.ours("threads", count=1920, threads=n),
            "0.2.1": lambda n=number: bench.theirs("threads", count=1920, threads=n),
        }
        target = 2.2 if number == 64 else None
        yield paired(f"uncached, {number} threads", "/s", bench.rounds, sides, target, "0.2.1", at_least=True)


def tasks(bench: Bench) -> Iterator[Row]:
    for number in (16, 64, 256):
        sides = {
            "ours": lambda n=number: bench.ours("tasks", count=5120, tasks=n),
            "0.2.1": lambda n=number: bench.theirs("tasks", count=5120, tasks=n),
            "aiohttp": lambda n=number: bench.theirs("tasks_aiohttp", count=5120, tasks=n),
        }
        target = 1.3 if number == 256 else 1.5
        yield paired(f"uncached, {number} tasks", "/s", bench.rounds, sides, target, "aiohttp", at_least=True)


def proxied(bench: Bench) -> Iterator[Row]:
    yield bench.both("proxied POST", "proxied", 1.0, count=300)


def layers(bench: Bench) -> Iterator[Row]:
    extras = (0, 1, 5, 10)
    sides = {f"{extra} extra": (lambda n=extra: bench.ours("layers", count=20_000, extra=n) * US) for extra in extras}
    row = paired("chain", "us", bench.rounds, sides, 3.0)
    yield row
    whole = {"ours": lambda: bench.ours("over_nothing", count=20_000) * US}
    yield paired("call over nothing", "us", bench.rounds, whole)
    each = (row.sides["10 extra"] - row.sides["0 extra"]) / 10
    yield Row("one more middleware", "us", {"ours": each}, {}, 0.35)
    azure = {f"azure-core {n}": (lambda n=n: bench.theirs("layers_azure", count=20_000, extra=n) * US) for n in (0, 10)}
    yield paired("chain of azure-core", "us", bench.rounds, azure)


def one_key(bench: Bench) -> Iterator[Row]:
    for kind in ("threads", "tasks"):
        counts = {}
        for side, python in (("ours", sys.executable), ("0.2.1", peer_python())):
            with counting.server() as (url, count), Side(python, url) as worker:
                worker("one_key", callers=1000, kind=kind)
                counts[side] = float(count())
        yield Row(f"1,000 {kind} on one key", "requests", counts, {}, 1.0)


def entries(bench: Bench) -> Iterator[Row]:
    sizes = (1_000_000, 100, 1_000, 10_000, 100_000)
    sides = {f"{size:,}": (lambda n=size: bench.ours("entries", count=100_000, entries=n) * US) for size in sizes}
    yield paired("hit among entries", "us", bench.rounds, sides, 1.5, "100")
    yield Row("memory of an entry", "bytes", {"ours": bench.ours("entry_bytes", entries=1000)})


def gateways(bench: Bench) -> Iterator[Row]:
    yield from gateway_rows(bench.url, bench.server, bench.rounds, 2.0)


def metrics(bench: Bench) -> Iterator[Row]:
    yield from metrics_rows(bench.url, bench.rounds, 2.0)


def streams(_bench: Bench) -> Iterator[Row]:
    yield from stream_rows()


def mask(bench: Bench) -> Iterator[Row]:
    yield from mask_rows(bench.ours, bench.rounds)


def pauses(bench: Bench) -> Iterator[Row]:
    yield from pause_rows(bench.rounds)


def stores(bench: Bench) -> Iterator[Row]:
    yield from store_rows(bench.rounds)


def counted(bench: Bench) -> Iterator[Row]:
    yield from counted_rows(bench.url, bench.rounds)


def moves(bench: Bench) -> Iterator[Row]:
    yield from move_rows(bench.rounds)


def footprint(bench: Bench) -> Iterator[Row]:
    yield from footprint_rows(bench.url, bench.rounds)


def tunnels(bench: Bench) -> Iterator[Row]:
    yield from tunnel_rows(bench.rounds)


ROWS: dict[str, Callable[[Bench], Iterator[Row]]] = {
    "import": import_time,
    "cached": cached,
    "uncached": uncached,
    "threads": threads,
    "tasks": tasks,
    "proxied": proxied,
    "layers": layers,
    "one-key": one_key,
    "entries": entries,
    "gateway": gateways,
    "metrics": metrics,
    "streams": streams,
    "mask": mask,
    "pauses": pauses,
    "stores": stores,
    "footprint": footprint,
    "tunnels": tunnels,
    "counted": counted,
    "moves": moves,
}
"""The rows by the name that --row takes."""
