"""From a host's name to a connected socket, in time: the blocking transport's way."""

from __future__ import annotations

import errno
import os
import selectors
import socket
import threading
import time
from collections.abc import Callable
from itertools import zip_longest
from typing import Any, TypeAlias

Address: TypeAlias = Any
"""One of getaddrinfo's tuples."""

ATTEMPT_DELAY = 0.25
"""Seconds that an address has for itself before the next one is tried as well (RFC 8305, 5)."""

_UNDER_WAY = (errno.EINPROGRESS, errno.EWOULDBLOCK, getattr(errno, "WSAEWOULDBLOCK", errno.EINPROGRESS))


def resolve(host: str, port: int, left: Callable[[], float], *, local: bool) -> list[Address]:
    """What getaddrinfo gives or raises, in the seconds that are `left`. A `local` name asks no name server."""
    answers: list[Any] = []

    def ask() -> None:
        try:
            answers.append(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except BaseException as error:  # whatever it is, it is raised on the caller's thread
            answers.append(error)

    if local:
        ask()
    else:
        # The system's resolver keeps to limits of its own: when time is up, it is left behind on its thread.
        asking = threading.Thread(target=ask, daemon=True)
        try:
            asking.start()
        except RuntimeError:  # there is no thread to be had
            ask()
        else:
            asking.join(left())
    answer = answers.pop() if answers else TimeoutError()
    try:
        if isinstance(answer, BaseException):
            raise answer
        return answer  # type: ignore[no-any-return]  # getaddrinfo's
    finally:
        del answer  # its traceback holds this frame


def connect(addresses: list[Address], left: Callable[[], float]) -> socket.socket:
    """A connection to the first of the addresses that answers; OSError where none does."""
    if not addresses:
        raise OSError("the host has no address")
    if len(addresses) > 1:
        return _Race(addresses, left).run()
    sock = _socket(addresses[0])
    try:
        sock.settimeout(left())
        sock.connect(addresses[0][4])
        sock.settimeout(left())
    except BaseException:
        sock.close()
        raise
    return sock


class _Race:
    """Connections to several addresses at once (RFC 8305, 5): each begins a moment after the one before, or as soon as
    that has failed."""

    def __init__(self, addresses: list[Address], left: Callable[[], float]) -> None:
        self._waiting = _interleaved(addresses)
        self._left = left
        self._failure: OSError = TimeoutError()
        self._selector = selectors.DefaultSelector()

    def run(self) -> socket.socket:
        """The winner, with what is left as its timeout."""
        winner: socket.socket | None = None
        try:
            while winner is None:
                winner = self._begin() if self._waiting else None
                if winner is None:
                    winner = self._wait()
            winner.settimeout(self._left())
            return winner
        except BaseException:
            if winner is not None:
                winner.close()
            raise
        finally:
            for key in list(self._selector.get_map().values()):
                key.fileobj.close()  # type: ignore[union-attr]  # a socket
            self._selector.close()

    def _begin(self) -> socket.socket | None:
        address = self._waiting.pop(0)
        try:
            sock = _socket(address)
        except OSError as error:  # a family that this machine does not have
            self._failure = error
            return None
        sock.setblocking(False)
        code = sock.connect_ex(address[4])
        if code in _UNDER_WAY:
            self._selector.register(sock, selectors.EVENT_WRITE)
            return None
        return self._ended(sock, code)

    def _wait(self) -> socket.socket | None:
        """The first that is connected before another address's turn comes."""
        begun = time.monotonic()
        while self._selector.get_map():
            pause = max(0.0, begun + ATTEMPT_DELAY - time.monotonic()) if self._waiting else None
            left = self._left()
            ready = self._selector.select(left if pause is None else min(left, pause))
            for key, _ in ready:
                sock: socket.socket = key.fileobj  # type: ignore[assignment]  # a socket
                self._selector.unregister(sock)
                if self._ended(sock, sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)):
                    return sock
            if self._waiting and (ready or not pause):
                return None
        if self._waiting:
            return None
        try:
            raise self._failure
        finally:
            del self._failure  # its traceback holds this object

    def _ended(self, sock: socket.socket, code: int) -> socket.socket | None:
        if not code:
            return sock
        sock.close()
        self._failure = OSError(code, os.strerror(code))
        return None


def _socket(address: Address) -> socket.socket:
    family, kind, protocol = address[:3]
    sock = socket.socket(family, kind, protocol)
    if kind == socket.SOCK_STREAM and family in (socket.AF_INET, socket.AF_INET6):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def _interleaved(addresses: list[Address]) -> list[Address]:
    """The addresses in their order, the families in turn (RFC 8305, 4)."""
    families: dict[int, list[Address]] = {}
    for address in addresses:
        families.setdefault(address[0], []).append(address)
    return [address for turn in zip_longest(*families.values()) for address in turn if address is not None]
