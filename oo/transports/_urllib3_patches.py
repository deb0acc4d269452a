"""A socket's reading side that keeps to an instant, however slowly the bytes drip.

A socket timeout bounds one `recv`, so a server that sends a byte now and then holds a call for ever. http.client
reads everything, status line, headers and body, from `sock.makefile("rb")`: handing it a file whose every `recv`
first asks how much time is left bounds them all, with no watchdog thread.
"""

from __future__ import annotations

import io
import socket
import threading
import time
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import NewConnectionError
from urllib3.util.ssl_ import is_ipaddress

from .strict_http import StrictResponse


class Deadline:
    """The instant by which an exchange must be over. It may be moved while the exchange goes on."""

    __slots__ = ("until",)

    def __init__(self, until: float) -> None:
        self.until = until

    def left(self) -> float:
        """Seconds left; TimeoutError where there are none, for a socket that has bytes would go on giving them."""
        left = self.until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


class _Current(threading.local):
    clock = Deadline(float("inf"))


thread_deadline = _Current()
"""`current.clock` is the clock of the exchange that this thread is about to begin."""


class _Raw(io.RawIOBase):
    def __init__(self, sock: socket.socket, clock: Deadline) -> None:
        self._sock = sock
        self._file = sock.makefile("rb", buffering=0)
        self._clock = clock

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(self._clock.left())
        return self._file.readinto(buffer)

    def fileno(self) -> int:
        return self._sock.fileno()

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


class _TimedSocket:
    """As much of a socket as http.client's response asks for."""

    def __init__(self, sock: socket.socket, clock: Deadline) -> None:
        self._sock = sock
        self._clock = clock

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Raw(self._sock, self._clock))


def _addresses(host: str, port: int, clock: Deadline) -> list[Any]:
    """What getaddrinfo gives or raises, in time."""
    found: list[Any] = []

    def ask() -> None:
        try:
            found.append(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except BaseException as error:
            found.append(error)

    if host == "localhost" or is_ipaddress(host):  # RFC 6761, 6.3: no name server is asked
        ask()
    else:
        # The system's resolver keeps to limits of its own: when time is up, it is left behind on its thread.
        asking = threading.Thread(target=ask, daemon=True)
        try:
            asking.start()
        except RuntimeError:  # there is no thread to be had
            ask()
        else:
            asking.join(clock.left())
    answer = found.pop() if found else TimeoutError()
    try:
        if isinstance(answer, BaseException):
            raise answer
        return answer  # type: ignore[no-any-return]  # getaddrinfo's
    finally:
        del answer  # its traceback holds this frame


class _Timed:
    def _new_conn(self) -> socket.socket:
        # urllib3 gives each address of a host all of the time, and then the TLS handshake as well.
        clock = thread_deadline.clock
        host, port = self._dns_host, self.port  # type: ignore[attr-defined]  # a connection's
        failure: OSError | None = None
        for family, kind, protocol, _, address in _addresses(host, port, clock):
            sock = socket.socket(family, kind, protocol)
            try:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.settimeout(clock.left())
                sock.connect(address)
                sock.settimeout(clock.left())
            except OSError as error:
                sock.close()
                failure = error
            else:
                return sock
        # urllib3 takes a reset for one that came after the request was sent, and then reads from no socket at all.
        raise NewConnectionError(self, "no address answers") from failure  # type: ignore[arg-type]  # a connection

    def request(self, *args: Any, **kwargs: Any) -> None:
        sock: socket.socket | None = self.sock  # type: ignore[attr-defined]  # a connection's, None before it is open
        if sock is not None:
            # The last exchange on this connection left what remained of its own time.
            sock.settimeout(thread_deadline.clock.left())
        super().request(*args, **kwargs)  # type: ignore[misc]  # the connection this is mixed into

    def response_class(self, sock: socket.socket, *args: Any, **kwargs: Any) -> StrictResponse:
        return StrictResponse(_TimedSocket(sock, thread_deadline.clock), *args, **kwargs)  # type: ignore[arg-type]  # http.client only calls makefile


class _TimedHTTP(_Timed, HTTPConnection):  # type: ignore[misc]  # response_class is a class there, a factory here
    pass


class _TimedHTTPS(_Timed, HTTPSConnection):  # type: ignore[misc]  # as above
    pass


class _HTTPPool(HTTPConnectionPool):
    ConnectionCls = _TimedHTTP


class _HTTPSPool(HTTPSConnectionPool):
    ConnectionCls = _TimedHTTPS


POOLS = {"http": _HTTPPool, "https": _HTTPSPool}
"""urllib3's pools, by scheme, with connections that keep to a clock."""
