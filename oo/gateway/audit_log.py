"""The audit: one JSON line for each decision, never a token or a value.

A flood of refused callers must not fill the disk: beyond `REFUSALS` refusals in a second, the rest share lines with a
`count`.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from .throttled_log import ThrottledLog

AUDIT_FILE = "audit.jsonl"
REFUSALS = 100
"""Refusals in a second for which a process writes a line each."""

_POLL = 0.1  # seconds between two checks for a further line


class Audit(Protocol):
    """Where decisions are written down."""

    def write(
        self,
        *,
        request_id: str,
        token_id: str | None,
        operation: str,
        target: str | None,
        outcome: str,
        status: int,
        ms: float,
        upstream: str | None = None,
    ) -> None:
        """Write a decision. On failure, log that a record was lost; never raise, since the call has already
        happened."""


class AuditFile:
    """A file of mode 0600. Several processes may append to it, each line in one write."""

    def __init__(self, home: Path) -> None:
        self._file = os.open(home / AUDIT_FILE, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._second = 0
        self._refused = 0
        self._counted: Counter[tuple[str | None, str, str, int]] = Counter()
        self._whole = True
        self._errors = ThrottledLog()

    def write(
        self,
        *,
        request_id: str,
        token_id: str | None,
        operation: str,
        target: str | None,
        outcome: str,
        status: int,
        ms: float,
        upstream: str | None = None,
    ) -> None:
        """Append a line, or count a refusal that gets none of its own, for which an event loop must be running."""
        if target is None and self._is_flood():
            if not self._counted:
                asyncio.get_running_loop().call_later(1, self._sum_up)
            self._counted[token_id, operation, outcome, status] += 1
            return
        decision = _decision(token_id, operation, target, outcome, status, upstream)
        self._append(f'"request_id": "{request_id}", {decision}, "ms": {round(ms, 1)}')

    def close(self) -> None:
        """Close the file."""
        self._sum_up()
        os.close(self._file)

    def _is_flood(self) -> bool:
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._refused = second, 0
        self._refused += 1
        return self._refused > REFUSALS

    def _sum_up(self) -> None:
        for (token_id, operation, outcome, status), count in self._counted.items():
            decision = _decision(token_id, operation, None, outcome, status)
            self._append(f'"request_id": null, {decision}, "ms": null, "count": {count}')
        self._counted.clear()

    def _append(self, said: str) -> None:
        second, millisecond = divmod(time.time_ns() // 1_000_000, 1000)
        line = f'{{"time": "{_clock(second)}.{millisecond:03}+00:00", {said}}}\n'
        if not self._whole:
            line = f"\n{line}"  # so that it doesn't continue the line that was cut short
        why: str | None = "there is no room for a whole line"
        try:
            self._whole = os.write(self._file, line.encode()) == len(line)
        except OSError as error:
            self._whole, why = False, error.strerror
        if not self._whole:
            self._errors.say(f"decisions are missing in the audit: {why}")


@lru_cache(1)
def _clock(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


@lru_cache(1024)  # most decisions repeat an earlier one
def _decision(
    token_id: str | None, operation: str, target: str | None, outcome: str, status: int, upstream: str | None = None
) -> str:
    fields = {
        "token_id": token_id,
        "operation": operation,
        "target": target,
        "outcome": outcome,
        "status": status,
        "upstream": upstream,
    }
    return json.dumps(fields)[1:-1]


def read(home: Path, follow: bool = False) -> Iterator[str]:
    """Yield the lines of an audit, without those that a full disk cut short. With `follow`, wait for more until
    interrupted."""
    path = home / AUDIT_FILE
    while follow and not path.exists():  # no gateway has run yet
        time.sleep(_POLL)
    if not path.exists():
        return
    with open(path, encoding="utf-8") as file:
        part = ""
        while True:
            part += file.readline()
            if part.endswith("\n"):
                if _is_whole(part):
                    yield part.rstrip("\n")
                part = ""
            elif follow:
                time.sleep(_POLL)
            else:
                return


def _is_whole(line: str) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True
