"""The table, and the plot of it."""

from __future__ import annotations

import platform
import statistics
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from benchmarks.measure import Row


def machine(server: str) -> str:
    """What it was measured on."""
    libraries = ", ".join(f"{name} {version(name)}" for name in ("requests", "aiohttp", "cachetools"))
    return f"{platform.machine()}, {_cores()} cores, Python {platform.python_version()}, {libraries}, server {server}"


def table(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table."""
    lines = ["| what | ours | peers | ratio (spread) | target | met |", "|---|---|---|---|---|---|"]
    for row in rows:
        ours, *peers = row.sides.items()
        others = ", ".join(f"{name} {_number(value)}" for name, value in peers)
        met = {True: "yes", False: "NO", None: ""}[row.met]
        label = f"{ours[0]} " if ours[0] != "ours" else ""
        lines.append(
            f"| {row.name} | {label}{_number(ours[1])} {row.unit} | {others} | {_ratio(row)} | {_target(row)} | {met} |"
        )
    return "\n".join(lines)


def data(rows: Sequence[Row], server: str) -> dict[str, Any]:
    """The rows as JSON."""
    return {
        "machine": machine(server),
        "rows": [{**vars(row), "figure": row.figure, "met": row.met} for row in rows],
    }


def plot(rows: Sequence[Row], path: str) -> None:
    """Each row with a target as the share of it that was reached: right of the line is better than asked."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    judged = [row for row in rows if row.target is not None]
    shares = [row.figure / row.target if row.at_least else row.target / max(row.figure, 1e-12) for row in judged]  # type: ignore[operator]  # judged rows have a target
    figure, axes = pyplot.subplots(figsize=(9, 0.5 * len(judged) + 1.5))
    colors = ["#2a7" if row.met else "#c43" for row in judged]
    axes.barh([row.name for row in judged], shares, color=colors)
    axes.axvline(1.0, color="black", linewidth=1)
    axes.set_xscale("log")
    axes.set_xlabel("times as good as the target")
    axes.invert_yaxis()
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def _ratio(row: Row) -> str:
    if not row.against:
        return ""
    values = sorted(row.ratios[row.against])
    return f"{statistics.median(values):.2f} x {row.against} ({values[0]:.2f} to {values[-1]:.2f})"


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
