"""One exchange: a request and its answer. Until when they may take, what is said when they took longer, and the socket
that keeps to it.

A socket's own timeout bounds one `recv`, so a server that sends a byte now and then holds a call for ever. http.client
reads the status line, the headers and the body from `sock.makefile("rb")`. TimedSocket gives it a file that asks before
every `recv` how much time is left. No watchdog thread is needed.
"""

from __future__ import annotations

import io
import selectors
import socket
import ssl
import threading
import time
from typing import Any

from .._http.body import Body, is_sendable
from .._http.request import Request
from ..exceptions import DoubleOError

MAX_CONNECTIONS = 256
"""Connections of a transport, unless told."""

_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS"})
_PIECE = 256 << 10  # bytes
_BUSY = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


def limits(request: Request, now: float) -> tuple[float, str]:
    """The instant by which this attempt, or this read of a stream, must be over, and which limit says so;
    DoubleOError where that has passed."""
    until = now + request.timeout
    if request.deadline is None or until < request.deadline:
        return until, "timeout"
    if request.deadline <= now:
        raise timed_out("deadline")
    return request.deadline, "deadline"


def is_streaming(request: Request, status: int) -> bool:
    """True for a 2xx answer to a streaming request, and for any to one whose own body streams: its idle time is
    limited, its total time is not."""
    return request.stream_response and (200 <= status < 300 or isinstance(request.body, Body))


def timed_out(limit: str) -> DoubleOError:
    """The error of an attempt that came to the end of its time."""
    if limit == "deadline":
        return DoubleOError("the deadline of the call passed", reason="deadline")
    return DoubleOError("no complete answer in time", reason="timeout", retryable=True)


def connection_limit(most: int) -> int:
    """`most`, or half of the files that the process may open (`ulimit -n`) if that is less."""
    try:
        import resource
    except ModuleNotFoundError:  # Windows, which has no such limit
        return most
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return most if files == resource.RLIM_INFINITY else min(most, max(1, files // 2))


class Exchange:
    """A request that is sent, and its answer. Both must be over by `until`, an instant of the monotonic clock,
    which may be moved. `fresh` asks for a new connection. `reused` tells whether a kept connection was used,
    `answered` whether a byte came back."""

    __slots__ = ("answered", "fresh", "reused", "until")

    def __init__(self, until: float) -> None:
        self.until = until
        self.fresh = self.reused = self.answered = False

    def left(self) -> float:
        """Seconds left. Raises TimeoutError at zero, since recv with timeout 0 still returns buffered bytes."""
        left = self.until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def renew(self, request: Request, began: float) -> bool:
        """Whether a request whose connection was lost is to be sent once more, over a new one: a kept connection may
        have been closed as the request went out (RFC 9112, 9.3.1). The timeline notes it."""
        if self.fresh or not self.reused or self.answered or not is_repeatable(request):
            return False
        self.fresh, self.reused = True, False
        note_resent(request, began)
        return True


def note_resent(request: Request, began: float) -> None:
    """Note in the timeline that a request, first sent at the instant `began`, is sent once more."""
    context = request.context
    before = context.timeline[-1][1] if context.timeline else 0.0
    context.timeline.append(("resent", before + time.monotonic() - began))


def is_repeatable(request: Request) -> bool:
    """Whether a request may be sent twice: its method or its key makes it idempotent, and its body is still there."""
    return is_sendable(request.body) and (request.method in _IDEMPOTENT or "Idempotency-Key" in request.headers)


class _Current(threading.local):
    exchange = Exchange(float("inf"))
    sending = False


thread = _Current()
"""`thread.exchange` is this thread's exchange; `thread.sending` is true until the answer's head has come."""


class TimedSocket:
    """The part of a socket that http.client's response uses. `early` holds bytes of the answer that were read
    already."""

    def __init__(self, sock: socket.socket, exchange: Exchange, early: bytes = b"") -> None:
        self._sock = sock
        self._exchange = exchange
        self._early = early

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Raw(self._sock, self._exchange, self._early))


class _Raw(io.RawIOBase):
    def __init__(self, sock: socket.socket, exchange: Exchange, early: bytes) -> None:
        self._sock = sock
        self._file = sock.makefile("rb", buffering=0)
        self._exchange = exchange
        self._early = early

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        exchange = self._exchange
        self._sock.settimeout(exchange.left())
        if self._early:
            size = min(len(buffer), len(self._early))
            buffer[:size], self._early = self._early[:size], self._early[size:]
            return size
        received = self._file.readinto(buffer)
        if received:
            exchange.answered = True
        return received

    def fileno(self) -> int:
        return self._sock.fileno()

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


def send_until_answered(sock: socket.socket, data: bytes, exchange: Exchange) -> bytes | None:
    """Send `data`, but stop if the server answers first or closes. Returns the first bytes of that answer (b"" for
    the end of the connection), or None once everything was sent. TimeoutError when time is up."""
    view = memoryview(data).cast("B")
    sock.setblocking(False)
    with selectors.DefaultSelector() as selector:
        selector.register(sock, selectors.EVENT_READ | selectors.EVENT_WRITE)
        while view:
            ready = selector.select(exchange.left())
            if not ready:
                raise TimeoutError
            if ready[0][1] & selectors.EVENT_READ:
                try:
                    early = sock.recv(_PIECE)
                except _BUSY:  # a record of TLS that holds no data, such as a ticket
                    pass
                else:
                    exchange.answered = bool(early)
                    return early
            try:
                view = view[sock.send(view[:_PIECE]) :]
            except _BUSY:
                pass
            except (ConnectionError, ssl.SSLError):  # why, the answer may say
                return b""
    sock.settimeout(exchange.left())
    return None
