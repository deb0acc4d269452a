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

if sys.platform == "win32":
    _WAIT = _AT_ONCE = _LEAVE = 0
else:
    import fcntl

    _WAIT, _AT_ONCE, _LEAVE = fcntl.LOCK_EX, fcntl.LOCK_EX | fcntl.LOCK_NB, fcntl.LOCK_UN


class Turn:
    """`with turn:` waits for a turn and holds it: a lock of a file beside the one that is written, which ends with its
    process. Windows and some file systems have no such lock, nor has one who may not write there: they go at once, and
    SQLite's own lock decides."""

    def __init__(self, path: Path) -> None:
        self._path = path.with_name(f"{path.name}-turn")
        self._handle: int | None = None
        self._is_open = False

    def __enter__(self) -> None:
        self.take()

    def __exit__(self, *_: object) -> None:
        self.leave()

    def take(self, *, wait: bool = True) -> bool:
        """Take a turn; False where another has it, and that is not waited for."""
        return self._lock(_WAIT if wait else _AT_ONCE)

    def leave(self) -> None:
        """Leave it to others."""
        self._lock(_LEAVE)

    def close(self) -> None:
        """Close the file, which stays."""
        handle, self._handle = self._handle, None
        if handle is not None:
            os.close(handle)

    def _lock(self, how: int) -> bool:
        if sys.platform == "win32":
            return True
        if not self._is_open:
            self._open()
        if self._handle is not None:
            try:
                fcntl.flock(self._handle, how)  # the kernel's queue: first come
            except BlockingIOError:
                return False
            except OSError:
                self.close()
        return True

    def _open(self) -> None:
        self._is_open = True
        begin_file(self._path.parent, self._path.name)
        with suppress(OSError):
            self._handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
