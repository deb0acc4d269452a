"""The short form, for CI: what does not depend on the machine. Requests counted, calls and memory of the hottest paths,
modules that `import oo` loads."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from functools import partial
from itertools import chain

import oo
from benchmarks import counting, hot_paths
from benchmarks.hot_paths import TOKEN
from benchmarks.measure import Side
from oo.testing import MockTransport

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
    return "functions called by a hit", hot_paths.functions(_hit()), MOST_CALLS


def allocations_of_a_hit() -> tuple[str, float, float]:
    return "bytes kept by 1,000 hits", hot_paths.kept(_hit(), 1000), 2000


def modules_of_an_import() -> tuple[str, float, float]:
    code = "import sys; before = set(sys.modules); import oo; print(len([m for m in set(sys.modules) - before]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    return "modules loaded by `import oo`", float(done.stdout), MOST_MODULES


def _hit() -> Callable[[], object]:
    client = oo.Client(transport=MockTransport(lambda _request: {"value": "v"}), plugins=False)
    hit = partial(client.get_secret, TOKEN, cache_ttl=60)  # which is no function itself
    for _ in range(3):
        hit()
    return hit


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
