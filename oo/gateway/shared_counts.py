"""Numbers that the processes of a machine count up, each in a file of its own, and that anyone can add up.

A count is one addition in memory that is mapped to a file, so what a killed process has counted is kept. Beside its
numbers a process has a file that names them, a line of JSON each: a key, and the first of its cells.
"""

from __future__ import annotations

import json
import mmap
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

Key: TypeAlias = "tuple[str, ...]"
"""The name of a number, and the values of its labels."""

CELLS = 1 << 16
"""Numbers that a process has room for; the file is sparse. What is named beyond them is not counted."""
NOWHERE = 0
"""The cell that nobody adds up."""
_SPARE = 128  # cells behind it that take what has no room


class SharedCounts:
    """The numbers of this process. `cells[at] += 1` counts."""

    def __init__(self, directory: Path) -> None:
        stem = directory / f"{os.getpid()}-{os.urandom(4).hex()}"
        self._names = os.open(f"{stem}.names", os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o600)
        values = os.open(f"{stem}.values", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.ftruncate(values, CELLS * 8)
            self.cells = memoryview(mmap.mmap(values, CELLS * 8)).cast("d")
        finally:
            os.close(values)
        self._next = _SPARE

    def name(self, *key: str, cells: int = 1) -> int:
        """Give some cells in a row a name; the first of them."""
        at = self._next
        if at + cells > CELLS or cells > _SPARE:
            return NOWHERE
        self._next += cells
        os.write(self._names, f"{json.dumps([key, at, cells])}\n".encode())
        return at

    def close(self) -> None:
        """Close the files, which stay."""
        os.close(self._names)


def bury(directory: Path, pid: int) -> None:
    """Note that a process has ended: its numbers that tell what is so now are not added up any more."""
    for names in directory.glob(f"{pid}-*.names"):
        names.with_suffix(".ended").touch(0o600)


def added_up(directory: Path) -> Iterator[tuple[Key, Sequence[float], bool]]:
    """What each process has counted: the key, the numbers, and whether the process lives."""
    for names in sorted(directory.glob("*.names")):
        lives = not names.with_suffix(".ended").exists()
        cells = memoryview(names.with_suffix(".values").read_bytes()).cast("d")
        for line in names.read_bytes().split(b"\n")[:-1]:  # what is behind the last is not whole yet
            key, at, count = json.loads(line)
            yield tuple(key), cells[at : at + count].tolist(), lives


def pids(directory: Path) -> list[int]:
    """The processes that count here and live."""
    found = [names for names in directory.glob("*.names") if not names.with_suffix(".ended").exists()]
    return sorted({int(names.name.partition("-")[0]) for names in found})
