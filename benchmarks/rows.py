"""The rows of the table. Each is a function of the bench that gives its lines."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial

import oo
from benchmarks import counting
from benchmarks.counted import counted_rows
from benchmarks.environment import peer_python
from benchmarks.footprint import footprint_rows
from benchmarks.gateways import gateway_rows, growth_rows, metrics_rows
from benchmarks.masks import mask_rows
from benchmarks.measure import FLOOR, ROOT, Measured, Row, Side, once, paired
from benchmarks.pauses import pause_rows
from benchmarks.peers import client_rows, peer_rows
from benchmarks.stores import move_rows, store_rows
from benchmarks.streams import stream_rows
from benchmarks.tunnels import tunnel_rows


class Bench:
    """What the rows share: the upstream, a worker of ours and one of 0.2.1, how many rounds."""

    def __init__(self, url: str, ours: Side, theirs: Side, rounds: int) -> None:
        self.url = url
        self.ours = ours
        self.theirs = theirs
        self.rounds = rounds

    def both(self, name: str, measure: str, floor: str, target: float, **arguments: int) -> Row:
        """A row of one measure in microseconds, against 0.2.1 and the floor."""
        sides = {
            "ours": partial(self.ours, measure, **arguments),
            "0.2.1": partial(self.theirs, measure, **arguments),
            FLOOR: partial(self.ours, floor, **arguments),
        }
        return paired(name, "us", self.rounds, sides, target, "0.2.1")


def import_time(bench: Bench) -> Iterator[Row]:
    code = (
        "import time; t, c = time.perf_counter(), time.process_time(); import {};"
        "print((time.perf_counter() - t) * 1e3, (time.process_time() - c) * 1e6)"
    )

    def run(module: str, *python: str) -> Callable[[], Measured]:
        command = [*python, "-c", code.format(module)]
        return lambda: Measured(*map(float, subprocess.check_output(command, cwd=ROOT).split()))

    sides = {
        "ours": run("oo", sys.executable),
        "0.2.1": run("oo", peer_python(), "-I"),
        FLOOR: run("benchmarks", sys.executable),  # in which there is nothing
    }
    yield paired("import", "ms", max(bench.rounds, 9), sides, 0.15, "0.2.1")


def cached(bench: Bench) -> Iterator[Row]:
    yield bench.both("cached hit, sync", "cached_sync", "hit_floor", 1.0, count=100_000)
    yield bench.both("cached hit, oo.get_secret", "cached_function", "hit_floor", 1.0, count=100_000)
    yield bench.both("cached hit, async", "cached_async", "hit_floor_async", 1.0, count=50_000)


def uncached(bench: Bench) -> Iterator[Row]:
    sides = {
        "ours": partial(bench.ours, "uncached", count=400),
        "0.2.1": partial(bench.theirs, "uncached", count=400),
        "Session": partial(bench.theirs, "uncached_session", count=400),
        "urllib3": partial(bench.theirs, "uncached_urllib3", count=400),
        FLOOR: partial(bench.ours, "uncached_floor", count=400),
    }
    yield paired("uncached, 1 thread", "us", bench.rounds, sides, 1.15, "urllib3")


def threads(bench: Bench) -> Iterator[Row]:
    for number in (8, 32, 64):
        sides = {
            "ours": partial(bench.ours, "threads", count=1920, threads=number),
            "0.2.1": partial(bench.theirs, "threads", count=1920, threads=number),
            FLOOR: partial(bench.ours, "threads_floor", count=1920, threads=number),
        }
        target = 2.2 if number == 64 else None
        yield paired(f"uncached, {number} threads", "/s", bench.rounds, sides, target, "0.2.1", at_least=True)


def tasks(bench: Bench) -> Iterator[Row]:
    yield from _tasks(bench, "asyncio", {16: 1.5, 64: 1.5, 256: 1.3})


def tasks_uvloop(bench: Bench) -> Iterator[Row]:
    yield from _tasks(bench, "uvloop", {16: 1.8, 64: 1.8, 256: 1.6})


def _tasks(bench: Bench, loop: str, asked: dict[int, float]) -> Iterator[Row]:
    beside = "" if loop == "asyncio" else f", {loop}"
    for number, target in asked.items():
        sides = {
            "ours": partial(bench.ours, "tasks", count=5120, tasks=number, loop=loop),
            "aiohttp": partial(bench.theirs, "tasks_aiohttp", count=5120, tasks=number, loop=loop),
            "0.2.1": partial(bench.theirs, "tasks", count=5120, tasks=number, loop=loop),
            FLOOR: partial(bench.ours, "tasks_floor", count=5120, tasks=number, loop=loop),
        }
        name = f"uncached, {number} tasks{beside}"
        yield paired(name, "/s", bench.rounds, sides, target, "aiohttp", at_least=True)


def proxied(bench: Bench) -> Iterator[Row]:
    yield bench.both("proxied POST", "proxied", "proxied_floor", 1.0, count=300)


def layers(bench: Bench) -> Iterator[Row]:
    extras, default, more = (0, 1, 5, 10), len(oo.default_middleware()), f"{FLOOR} of 10 extra"
    sides = {f"{extra} extra": partial(bench.ours, "layers", count=20_000, extra=extra) for extra in extras}
    sides |= {f"azure-core {n}": partial(bench.theirs, "layers_azure", count=20_000, extra=n) for n in (0, 10)}
    sides[FLOOR] = partial(bench.ours, "layers_floor", count=20_000, layers=default)
    sides[more] = partial(bench.ours, "layers_floor", count=20_000, layers=default + 10)
    row = paired("chain", "us", bench.rounds, sides, 3.0)
    yield row
    whole = {"ours": partial(bench.ours, "over_nothing", count=20_000), FLOOR: sides[FLOOR]}
    yield paired("call over nothing", "us", bench.rounds, whole)
    ends = {"ours": ("0 extra", "10 extra"), "azure-core": ("azure-core 0", "azure-core 10"), FLOOR: (FLOOR, more)}
    each, worked = (
        {side: (of[last] - of[first]) / 10 for side, (first, last) in ends.items()} for of in (row.sides, row.cpu)
    )
    yield once("one more middleware", "us", each, 0.35, worked)


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
    sides = {f"{size:,}": partial(bench.ours, "entries", count=100_000, entries=size) for size in sizes}
    sides[FLOOR] = partial(bench.ours, "entries_floor", count=100_000, entries=sizes[0])
    yield paired("hit among entries", "us", bench.rounds, sides, 1.5, "100")
    held = {"ours": "entry_bytes", FLOOR: "entry_bytes_floor"}
    yield once("memory of an entry", "bytes", {side: bench.ours(held[side], entries=1000).value for side in held})


def gateways(bench: Bench) -> Iterator[Row]:
    yield from gateway_rows(bench.url, bench.rounds)


def growth(bench: Bench) -> Iterator[Row]:
    yield from growth_rows(bench.url, bench.rounds)


def metrics(bench: Bench) -> Iterator[Row]:
    yield from metrics_rows(bench.url, bench.rounds)


def streams(bench: Bench) -> Iterator[Row]:
    yield from stream_rows(bench.rounds)


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


def peer_clients(bench: Bench) -> Iterator[Row]:
    yield from client_rows(bench.url, bench.ours, bench.rounds)


def peer_gateways(bench: Bench) -> Iterator[Row]:
    yield from peer_rows(bench.url, bench.rounds)


def tunnels(bench: Bench) -> Iterator[Row]:
    yield from tunnel_rows(bench.rounds)


ROWS: dict[str, Callable[[Bench], Iterator[Row]]] = {
    "import": import_time,
    "cached": cached,
    "uncached": uncached,
    "threads": threads,
    "tasks": tasks,
    "tasks-uvloop": tasks_uvloop,
    "proxied": proxied,
    "layers": layers,
    "one-key": one_key,
    "entries": entries,
    "gateway": gateways,
    "growth": growth,
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
PEER_ROWS: dict[str, Callable[[Bench], Iterator[Row]]] = {"peer-clients": peer_clients, "peer-gateways": peer_gateways}
"""Those of --peers."""
