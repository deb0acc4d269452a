"""The audit: one JSON line for each decision, never a token or a value."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Protocol

AUDIT_FILE = "audit.jsonl"
_POLL = 0.1  # seconds between two looks for a further line


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
    ) -> None:
        """Write one decision down."""


class AuditFile:
    """A file of mode 0600 that processes append to, a line in one write."""

    def __init__(self, home: Path) -> None:
        self._file = os.open(home / AUDIT_FILE, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

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
    ) -> None:
        """Append one line."""
        line = {
            "time": datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
            "request_id": request_id,
            "token_id": token_id,
            "operation": operation,
            "target": target,
            "outcome": outcome,
            "status": status,
            "ms": round(ms, 1),
        }
        os.write(self._file, json.dumps(line).encode() + b"\n")

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


def read(home: Path, follow: bool = False) -> Iterator[str]:
    """The lines of an audit; with `follow`, those still to come as well, until interrupted."""
    path = home / AUDIT_FILE
    while follow and not path.exists():  # nobody has served yet
        time.sleep(_POLL)
    if not path.exists():
        return
    with open(path, encoding="utf-8") as file:
        part = ""
        while True:
            part += file.readline()
            if part.endswith("\n"):
                yield part.rstrip("\n")
                part = ""
            elif follow:
                time.sleep(_POLL)
            else:
                return
