"""What a service manager is told: sd_notify(3)."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import MutableMapping
from contextlib import suppress


class ServiceManager:
    """The service manager that started this process, if one did that wants to be told. Takes its variables out of the
    environment, so that no child speaks for this process."""

    def __init__(self, environ: MutableMapping[str, str] = os.environ) -> None:
        self._address = environ.pop("NOTIFY_SOCKET", "").replace("@", "\0", 1)
        self.watchdog = _watchdog(environ)
        """Seconds between two signs of life, or None where none are asked for."""

    def ready(self, status: str = "") -> None:
        """Say that callers are answered."""
        self._send("READY=1", f"STATUS={status}" if status else "")

    def reloading(self) -> None:
        """Say that the configuration is being read again; `ready` says that it was."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        """Say that the gateway ends."""
        self._send("STOPPING=1")

    def alive(self) -> None:
        """Give a sign of life."""
        self._send("WATCHDOG=1")

    def _send(self, *lines: str) -> None:
        if self._address:
            with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.connect(self._address)
                sock.sendall("\n".join(filter(None, lines)).encode())


def _watchdog(environ: MutableMapping[str, str]) -> float | None:
    microseconds, pid = environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", "")
    if not microseconds.isdigit() or pid not in ("", str(os.getpid())):
        return None
    return int(microseconds) / 1e6 / 2  # sd_watchdog_enabled(3) wants half of it
