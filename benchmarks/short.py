"""The short form, for CI: what does not depend on the machine. Requests counted, calls and memory of the hottest paths,
modules that `import oo` loads."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from itertools import chain
from typing import Any

import oo
from benchmarks import counting, hot_paths
from benchmarks.measure import Side
from oo.testing import MockTransport

TOKEN = "oo_benchmark-token-that-opens-nothing"
MOST_CALLS = 4
"""Python and C functions that a hit may call: get_secret, lookup, the store's read, the clock."""
MOST_MODULES = 3
"""Modules of ours that `import oo` may load."""


def requests_on_one_key() -> tuple[str, float, float]:
    with counting.server() as (url, count):
        for kind in ("threads", "tasks"):
            with Side(sys.executable, url) as worker:
                worker("one_key", callers=200, kind=kind)
    return "requests of 200 threads on one key, and of 200 tasks", count(), 2


def calls_of_a_hit() -> tuple[str, float, float]:
    client = _warm()
    calls = 0

    def note(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    def hit() -> None:
        client.get_secret(TOKEN, cache_ttl=60)

    sys.setprofile(note)
    try:
        hit()
    finally:
        sys.setprofile(None)
    return "functions called by a hit", calls - 2, MOST_CALLS  # less `hit` itself and `setprofile`


def allocations_of_a_hit() -> tuple[str, float, float]:
    client = _warm()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(1000):
        client.get_secret(TOKEN, cache_ttl=60)
    kept = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return "bytes kept by 1,000 hits", kept, 2000


def modules_of_an_import() -> tuple[str, float, float]:
    code = "import sys; before = set(sys.modules); import oo; print(len([m for m in set(sys.modules) - before]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    return "modules loaded by `import oo`", float(done.stdout), MOST_MODULES


def _warm() -> oo.Client:
    client = oo.Client(transport=MockTransport(lambda _request: {"value": "v"}), plugins=False)
    for _ in range(3):
        client.get_secret(TOKEN, cache_ttl=60)
    return client


CHECKS: tuple[Callable[[], tuple[str, float, float]], ...] = (
    requests_on_one_key,
    calls_of_a_hit,
    allocations_of_a_hit,
    modules_of_an_import,
)


def main() -> int:
    """Print each check; 1 where one is over its bound."""
    failed = False
    for what, value, most in chain((check() for check in CHECKS), hot_paths.checks()):
        failed = failed or value > most
        print(f"{'ok' if value <= most else 'FAILED':<7}{what}: {value:g} (at most {most:g})")
    return int(failed)
