"""Pairs, interleaved: each round measures every side once, and a ratio is of one round."""

from __future__ import annotations

import json
import statistics
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent


@dataclass
class Row:
    """One line of the table. `sides` holds the median of each side, ours first; `ratios` ours to each peer, one a
    round; `target` is the bound of the ratio (or of the value, where there is no peer)."""

    name: str
    unit: str
    sides: dict[str, float]
    ratios: dict[str, list[float]] = field(default_factory=dict)
    target: float | None = None
    against: str | None = None
    at_least: bool = False
    rounds: dict[str, list[float]] = field(default_factory=dict)
    """What each round gave of each side."""

    @property
    def figure(self) -> float:
        """What the target speaks of."""
        return statistics.median(self.ratios[self.against]) if self.against else next(iter(self.sides.values()))

    @property
    def met(self) -> bool | None:
        if self.target is None:
            return None
        return self.figure >= self.target if self.at_least else self.figure <= self.target


class Side:
    """A worker process under one interpreter."""

    def __init__(self, python: str, url: str) -> None:
        worker = str(ROOT / "benchmarks" / "worker.py")
        # -P keeps the script's own folder off the path, -E this shell's settings.
        self._process = subprocess.Popen(
            [python, worker, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="/"
        )

    def __call__(self, measure: str, **arguments: Any) -> float:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([measure, arguments]) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the worker ended while it measured {measure}")
        return float(json.loads(line))

    def __enter__(self) -> Side:
        return self

    def __exit__(self, *_error: object) -> None:
        self._process.kill()
        self._process.wait()


def paired(
    name: str,
    unit: str,
    rounds: int,
    sides: Mapping[str, Callable[[], float]],
    target: float | None = None,
    against: str | None = None,
    at_least: bool = False,
) -> Row:
    """Measure each side once a round; ours is the first."""
    values: dict[str, list[float]] = {side: [] for side in sides}
    for side in sides.values():
        side()  # warm
    for number in range(rounds):
        order = list(sides) if number % 2 else list(reversed(sides))
        for side_name in order:
            values[side_name].append(sides[side_name]())
    ours = next(iter(sides))
    ratios = {side: [a / b for a, b in zip(values[ours], values[side], strict=True)] for side in sides if side != ours}
    medians = {side: statistics.median(measured) for side, measured in values.items()}
    return Row(name, unit, medians, ratios, target, against, at_least, values)
