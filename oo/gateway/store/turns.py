"""Whose turn it is to write to a file: its writers, in whichever processes, get theirs in the order in which they came.

SQLite by itself would have a writer sleep and look again, for up to a tenth of a second at a time, and whoever comes
just then goes first.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

from ..paths import begin_file


class Turn:
    """`with turn:` waits for a turn and holds it: a lock of a file beside the one that is written, which ends with its
    process. Windows and some file systems have no such lock, nor has one who may not write there: they go at once, and
    SQLite's own lock decides."""

    def __init__(self, path: Path) -> None:
        self._path = path.with_name(f"{path.name}-turn")
        self._handle: int | None = None
        self._is_open = False

    def __enter__(self) -> None:
        self._lock(wait=True)

    def __exit__(self, *_: object) -> None:
        self._lock(wait=False)

    def close(self) -> None:
        """Close the file, which stays."""
        handle, self._handle = self._handle, None
        if handle is not None:
            os.close(handle)

    def _lock(self, *, wait: bool) -> None:
        if sys.platform == "win32":
            return
        import fcntl

        if not self._is_open:
            self._open()
        if self._handle is not None:
            try:
                fcntl.flock(self._handle, fcntl.LOCK_EX if wait else fcntl.LOCK_UN)  # the kernel's queue: first come
            except OSError:
                self.close()

    def _open(self) -> None:
        self._is_open = True
        begin_file(self._path.parent, self._path.name)
        with suppress(OSError):
            self._handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
