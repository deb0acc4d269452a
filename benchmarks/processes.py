"""What a process and those that it started take: memory and time of the processor (proc(5))."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

MIB = 1 << 20


def keeping_bytecode() -> dict[str, str]:
    """This process's environment, in which Python keeps what it compiles, as pip does of what it installs."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def family(pid: int) -> list[int]:
    """The process and all that descend from it."""
    found = [pid]
    for each in found:  # which grows
        for children in Path(f"/proc/{each}/task").glob("*/children"):
            found += map(int, children.read_text().split())
    return found


def spent(pid: int) -> float:
    """Microseconds that all threads of the family have run (clock_getcpuclockid(3), as Linux numbers that clock)."""
    return sum(time.clock_gettime(~each << 3 | 2) for each in family(pid)) * 1e6


def resident(pid: int, field: str = "VmRSS") -> int:
    """Bytes of memory that a process holds (VmRSS), or has held at most (VmHWM)."""
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return int(re.search(rf"{field}:\s+(\d+) kB", file.read())[1]) * 1024  # type: ignore[index]  # proc(5) has both


def resident_family(pid: int) -> int:
    """Bytes of memory that a process and all that descend from it hold."""
    return sum(resident(each) for each in family(pid))


def forget_peak(pid: int) -> None:
    """Let VmHWM begin anew: 5 forgets the peak so far."""
    with open(f"/proc/{pid}/clear_refs", "w", encoding="ascii") as file:
        file.write("5")
