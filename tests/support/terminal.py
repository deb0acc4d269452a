"""The command on a terminal of its own, as somebody who types would have it."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios

from tests.support.waiting import PATIENCE

# In a session of its own the terminal becomes the controlling one, so that keys send signals and /dev/tty is there.
_START = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.executable, sys.argv[1:])"


class Terminal:
    """`with Terminal("get") as terminal`: `oo get` on a terminal of 24 lines and `columns`."""

    def __init__(self, *arguments: str, columns: int = 100, **env: str) -> None:
        self._arguments = arguments
        self._columns = columns
        # A size in the environment, as readline leaves one there, goes before the terminal's own.
        inherited = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
        self._env = {**inherited, "TERM": "xterm-256color", **env}
        self.shown = ""
        self._seen = 0

    def __enter__(self) -> Terminal:
        self._terminal, inside = pty.openpty()
        fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", 24, self._columns, 0, 0))
        command = [sys.executable, "-c", _START, sys.executable, "-m", "oo.cli", *self._arguments]
        self.process = subprocess.Popen(
            command, stdin=inside, stdout=inside, stderr=inside, env=self._env, start_new_session=True
        )
        os.close(inside)
        return self

    def __exit__(self, *_error: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._terminal)

    def send(self, text: str) -> None:
        """Type something."""
        os.write(self._terminal, text.encode())

    def until(self, text: str) -> None:
        """Read until something is shown, behind what was waited for before."""
        while (found := self.shown.find(text, self._seen)) < 0:
            assert self._read(), f"the command ended without {text!r}: {self.shown!r}"
        self._seen = found + len(text)

    def end(self) -> int:
        """Read to the end; the exit code."""
        while self._read():
            pass
        return self.process.wait(PATIENCE)

    def _read(self) -> bool:
        ready, _, _ = select.select([self._terminal], [], [], PATIENCE)
        assert ready, f"nothing more was shown: {self.shown!r}"
        try:
            piece = os.read(self._terminal, 65536)
        except OSError:  # what Linux says when nobody is left on the other side
            return False
        self.shown += piece.decode()
        return bool(piece)
