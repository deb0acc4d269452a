"""The table, and the plot of it."""

from __future__ import annotations

import platform
import statistics
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from benchmarks.measure import Row

DERIVED = ("figure", "met", "from_floor", "cpu_from_floor")
"""What JSON says of a row besides what it holds."""
FLOORS = """The floor is the least that a call can do: a dict and a lock for a hit, a bare socket or a bare protocol of
asyncio for a client's call, as many coroutines for the chain, nginx for a gateway and for who waits at one, a bare
protocol for its memory and its start, one statement for all who ask a store at once, one search for a mask, an
empty module for an import. A count and a stream's memory have none: their targets are, or are next to, the least. CPU
is what a call takes of the processor: in the client of a client's row, in the gateway of a gateway's, in the process
that asks a store."""


def machine(server: str) -> str:
    """What it was measured on."""
    libraries = ", ".join(f"{name} {version(name)}" for name in ("requests", "aiohttp", "cachetools"))
    return f"{platform.machine()}, {_cores()} cores, Python {platform.python_version()}, {libraries}, server {server}"


def table(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table."""
    columns = ("what", "ours", "peers", "CPU of a call, us", "ratio (spread)", "target", "met", "from the floor")
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for row in rows:
        ours, *peers = row.sides.items()
        others = ", ".join(
            [f"{name} {_number(value)}" for name, value in peers] + [f"{name} has none" for name in row.lacking]
        )
        met = {True: "yes", False: "NO", None: ""}[row.met]
        what = f"{f'{ours[0]} ' if ours[0] != 'ours' else ''}{_number(ours[1])} {row.unit}"
        cpu = ", ".join(f"{name} {_number(value)}" for name, value in row.cpu.items())
        cells = (row.name, what, others, cpu, _ratio(row), _target(row), met, _from_floor(row))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def data(rows: Sequence[Row], server: str) -> dict[str, Any]:
    """The rows as JSON."""
    return {
        "machine": machine(server),
        "rows": [{**vars(row), **{name: getattr(row, name) for name in DERIVED}} for row in rows],
    }


def _ratio(row: Row) -> str:
    if not row.against:
        return ""
    values = sorted(row.ratios[row.against])
    return f"{statistics.median(values):.2f} x {row.against} ({values[0]:.2f} to {values[-1]:.2f})"


def _from_floor(row: Row) -> str:
    ratios = (("", row.from_floor), ("CPU ", row.cpu_from_floor))
    return ", ".join(f"{kind}{ratio:.3g} x" for kind, ratio in ratios if ratio is not None)


def _target(row: Row) -> str:
    if row.target is None:
        return ""
    bound = "at least" if row.at_least else "at most"
    return f"{bound} {row.target:g} {'x' if row.against else row.unit}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _cores() -> int:
    import os

    return os.cpu_count() or 1
