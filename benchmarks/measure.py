"""Pairs, interleaved: each round measures every side once, and a ratio is of one round."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

ROOT = Path(__file__).parent.parent
FLOOR = "floor"
"""The side that does the least that a call can do: bare protocols and sockets, a dict and a lock, nginx."""


class Measured(NamedTuple):
    """What one round gives of a side, and where calls were made, the microseconds of the processor that each took."""

    value: float
    cpu: float | None = None


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
    cpu: dict[str, float] = field(default_factory=dict)
    """The median microseconds of the processor that a call took on each side: on a machine that is shared, wall time
    tells of the others too."""
    lacking: tuple[str, ...] = ()
    """Who has no such thing at all."""

    @property
    def from_floor(self) -> float | None:
        """How many times slower than the floor we are."""
        if FLOOR not in self.ratios:
            return None
        ratio = statistics.median(self.ratios[FLOOR])
        return 1 / ratio if self.unit.endswith("/s") else ratio

    @property
    def cpu_from_floor(self) -> float | None:
        """How many times more of the processor than the floor we take."""
        ours = next(iter(self.sides))
        return self.cpu[ours] / self.cpu[FLOOR] if ours in self.cpu and self.cpu.get(FLOOR) else None

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
    """A worker process under one interpreter: ours has this folder's `oo`, any other what is installed there."""

    def __init__(self, python: str, url: str) -> None:
        # -I keeps the script's own folder and this shell's PYTHONPATH off the path of another.
        command = ["-m", "benchmarks.worker"] if python == sys.executable else ["-I", f"{ROOT}/benchmarks/worker.py"]
        self._process = subprocess.Popen(
            [python, *command, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
        )

    def __call__(self, measure: str, **arguments: Any) -> Measured:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([measure, arguments]) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the worker ended while it measured {measure}")
        return Measured(*json.loads(line))

    def __enter__(self) -> Side:
        return self

    def __exit__(self, *_error: object) -> None:
        self._process.kill()
        self._process.wait()


def paired(
    name: str,
    unit: str,
    rounds: int,
    sides: Mapping[str, Callable[[], float | Measured]],
    target: float | None = None,
    against: str | None = None,
    at_least: bool = False,
) -> Row:
    """Measure each side once a round; ours is the first."""
    values: dict[str, list[float]] = {side: [] for side in sides}
    cpu: dict[str, list[float]] = {side: [] for side in sides}
    for side in sides.values():
        side()  # warm
    for number in range(rounds):
        order = list(sides) if number % 2 else list(sides)[::-1]
        for side_name in order:
            given = sides[side_name]()
            measured = given if isinstance(given, Measured) else Measured(given)
            values[side_name].append(measured.value)
            if measured.cpu is not None:
                cpu[side_name].append(measured.cpu)
    ours = next(iter(sides))
    ratios = {side: [a / b for a, b in zip(values[ours], values[side], strict=True)] for side in sides if side != ours}
    return Row(name, unit, _medians(values), ratios, target, against, at_least, values, _medians(cpu))


def once(
    name: str,
    unit: str,
    sides: Mapping[str, float],
    target: float | None = None,
    cpu: Mapping[str, float] | None = None,
    at_least: bool = False,
) -> Row:
    """A row of what was measured once; ours is the first."""
    ours, *_ = sides.values()
    ratios = {FLOOR: [ours / sides[FLOOR]]} if sides.get(FLOOR) else {}
    return Row(name, unit, dict(sides), ratios, target, at_least=at_least, cpu=dict(cpu or {}))


class Late(Protocol):
    """What is asked in rounds, the first of which only warms it."""

    late: list[float]
    """The 99th percentile of each, in milliseconds."""


def late_row(name: str, sides: Mapping[str, Late], target: float | None = None) -> Row:
    """How late the answers were that `paired` has measured."""
    return once(f"{name}, p99", "ms", {side: statistics.median(each.late[1:]) for side, each in sides.items()}, target)


def _medians(values: Mapping[str, list[float]]) -> dict[str, float]:
    return {side: statistics.median(measured) for side, measured in values.items() if measured}
