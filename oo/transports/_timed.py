"""A socket's reading side that keeps to an instant, however slowly the bytes drip.

A socket timeout bounds one `recv`, so a server that sends a byte now and then holds a call for ever. http.client
reads everything, status line, headers and body, from `sock.makefile("rb")`: handing it a file whose every `recv`
first asks how much time is left bounds them all, with no watchdog thread.
"""

from __future__ import annotations

import http.client
import io
import socket
import threading
import time
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool


class Until(threading.local):
    """The instant by which this thread's exchange must be over."""

    instant = float("inf")


class _Raw(io.RawIOBase):
    def __init__(self, sock: socket.socket, until: float) -> None:
        self._sock = sock
        self._file = sock.makefile("rb", buffering=0)
        self._until = until

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError("the time of the exchange is over")
        self._sock.settimeout(left)
        return self._file.readinto(buffer)

    def fileno(self) -> int:
        return self._sock.fileno()

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


class _TimedSocket:
    """As much of a socket as http.client's response asks for."""

    def __init__(self, sock: socket.socket, until: float) -> None:
        self._sock = sock
        self._until = until

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Raw(self._sock, self._until))


class _Timed:
    until = Until()

    def request(self, *args: Any, **kwargs: Any) -> None:
        sock: socket.socket | None = self.sock  # type: ignore[attr-defined]  # a connection's, None before it is open
        if sock is not None:
            # The last exchange on this connection left what remained of its own time.
            sock.settimeout(max(self.until.instant - time.monotonic(), 0.001))
        super().request(*args, **kwargs)  # type: ignore[misc]  # the connection this is mixed into

    def response_class(self, sock: socket.socket, *args: Any, **kwargs: Any) -> http.client.HTTPResponse:
        return http.client.HTTPResponse(_TimedSocket(sock, self.until.instant), *args, **kwargs)  # type: ignore[arg-type]  # http.client only calls makefile


class _TimedHTTP(_Timed, HTTPConnection):  # type: ignore[misc]  # response_class is a class there, a factory here
    pass


class _TimedHTTPS(_Timed, HTTPSConnection):  # type: ignore[misc]  # as above
    pass


class _HTTPPool(HTTPConnectionPool):
    ConnectionCls = _TimedHTTP


class _HTTPSPool(HTTPSConnectionPool):
    ConnectionCls = _TimedHTTPS


until = _Timed.until
POOLS = {"http": _HTTPPool, "https": _HTTPSPool}
"""urllib3's pools, by scheme, with connections that keep to `until.instant`."""
