"""A socket that keeps to an instant, however slowly the bytes drip.

A socket timeout bounds one `recv`, so a server that sends a byte now and then holds a call for ever. http.client
reads everything, status line, headers and body, from `sock.makefile("rb")`: handing it a file whose every `recv`
first asks how much time is left bounds them all, with no watchdog thread.
"""

from __future__ import annotations

import io
import selectors
import socket
import ssl
from typing import Any

from .exchange import Exchange

_PIECE = 256 << 10  # bytes
_BUSY = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class TimedSocket:
    """As much of a socket as http.client's response asks for. `early` is what was read of the answer already."""

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
    """Send `data`, but stop where the server answers first, or closes. What came of that answer (b"" for the end of
    the connection); None where everything was sent. TimeoutError where time is up."""
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
