"""What one exchange of a request and its answer may do: how many at once, whether again, and what ends the sending."""

from __future__ import annotations

import selectors
import socket
import ssl
import time
from collections.abc import Callable

from .._http.body import Body, is_sendable
from .._http.request import Request

MAX_CONNECTIONS = 256
"""Connections of a transport, unless told."""

_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS"})
_PIECE = 256 << 10  # bytes
_BUSY = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


def is_streaming(request: Request, status: int) -> bool:
    """True for a 2xx answer to a streaming request, and for any to one whose own body streams: its idle time is
    limited, its total time is not."""
    return request.stream_response and (200 <= status < 300 or isinstance(request.body, Body))


def connection_limit(most: int) -> int:
    """`most`, or half of the files that the process may open (`ulimit -n`) if that is less."""
    try:
        import resource
    except ModuleNotFoundError:  # Windows, which has no such limit
        return most
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return most if files == resource.RLIM_INFINITY else min(most, max(1, files // 2))


def note_resent(request: Request, began: float) -> None:
    """Note in the timeline that a request, first sent at the instant `began`, is sent once more."""
    context = request.context
    before = context.timeline[-1][1] if context.timeline else 0.0
    context.timeline.append(("resent", before + time.monotonic() - began))


def is_repeatable(request: Request) -> bool:
    """Whether a request may be sent twice: its method or its key makes it idempotent, and its body is still there."""
    return is_sendable(request.body) and (request.method in _IDEMPOTENT or "Idempotency-Key" in request.headers)


def send_until_answered(sock: socket.socket, data: bytes, left: Callable[[], float]) -> bytes | None:
    """Send `data`, but stop if the server answers first or closes. Returns the first bytes of that answer (b"" for
    the end of the connection), or None once everything was sent. `left` gives the seconds left, or raises TimeoutError.
    """
    view = memoryview(data).cast("B")
    sock.setblocking(False)
    with selectors.DefaultSelector() as selector:
        selector.register(sock, selectors.EVENT_READ | selectors.EVENT_WRITE)
        while view:
            ready = selector.select(left())
            if not ready:
                raise TimeoutError
            if ready[0][1] & selectors.EVENT_READ:
                try:
                    early = sock.recv(_PIECE)
                except _BUSY:  # a record of TLS that holds no data, such as a ticket
                    pass
                else:
                    return early
            try:
                view = view[sock.send(view[:_PIECE]) :]
            except _BUSY:
                pass
            except (ConnectionError, ssl.SSLError):  # why, the answer may say
                return b""
    sock.settimeout(left())
    return None
