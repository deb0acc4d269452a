"""Where the audit's lines go: a file that is followed when it is rotated, or standard output."""

from __future__ import annotations

import errno
import os
import select
import sys
import time
from pathlib import Path
from typing import Protocol

from .._core.files import identity

STDOUT = "-"
"""The name of standard output."""

_FRESH = 0.001  # seconds for which the file's name is not looked up again


class Sink(Protocol):
    """Takes whole lines, each in one write, and holds nobody up."""

    def write(self, line: bytes) -> None:
        """Write a line; OSError where it could not be written whole."""

    def check(self) -> None:
        """OSError where a line could not be written."""

    def reopen(self) -> None:
        """Open anew what is there by now."""

    def close(self) -> None:
        """Give back what it holds."""


def open_sink(target: str | Path) -> Sink:
    """The sink of a name; OSError if a file can't be opened."""
    return StandardOutput() if target == STDOUT else AppendedFile(Path(target))


class AppendedFile:
    """A file of mode 0600 that several processes may append to. It is opened anew once its name leads to another file,
    or to none: logrotate(8) renames it. One that was truncated goes on from its beginning (O_APPEND)."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self._file = self._open()
        self._identity = identity(self._file)
        self._checked = time.monotonic()
        self._whole = True

    def write(self, line: bytes) -> None:
        now = time.monotonic()
        if now - self._checked > _FRESH:
            if not self._is_current():
                self.reopen()
            self._checked = now
        if not self._whole:
            line = b"\n" + line  # so that it doesn't continue the line that was cut short
        self._whole = False
        if os.write(self._file, line) < len(line):
            raise OSError(errno.ENOSPC, "there is no room for a whole line")
        self._whole = True

    def check(self) -> None:
        if not self._is_current():
            self.reopen()
        if hasattr(os, "fstatvfs") and _is_full(os.fstatvfs(self._file)):
            raise OSError(errno.ENOSPC, "there is no room for a line")

    def reopen(self) -> None:
        file = self._open()
        os.close(self._file)
        self._file, self._identity, self._whole = file, identity(file), True

    def close(self) -> None:
        os.close(self._file)

    def _open(self) -> int:
        # Non-blocking, for a named pipe that nobody reads.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NONBLOCK", 0)
        return os.open(self._path, flags, 0o600)

    def _is_current(self) -> bool:
        return identity(self._path) == self._identity


class StandardOutput:
    """This process's standard output."""

    def write(self, line: bytes) -> None:
        self.check()  # it may be shared with others, whose writing must go on to wait: so it is not made non-blocking
        if os.write(1, line) < len(line):
            raise OSError(errno.ENOSPC, "there is no room for a whole line")

    def check(self) -> None:
        if sys.platform != "win32" and not select.select((), (1,), (), 0)[1]:
            raise OSError(errno.EAGAIN, "standard output is not read")

    def reopen(self) -> None:
        """Do nothing: it has no name."""

    def close(self) -> None:
        """Do nothing: it is the process's own."""


def _is_full(disk: os.statvfs_result) -> bool:
    return disk.f_blocks > 0 and disk.f_bavail == 0  # what has no size says 0 of both
