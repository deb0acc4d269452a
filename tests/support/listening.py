"""A listener on loopback whose connections are each served on a thread."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.support.waiting import PATIENCE

if TYPE_CHECKING:
    from typing_extensions import Self


class Listener:
    """Accepts from when it is made until it is closed. A subclass says in `accepted` what a connection is for; whatever
    it hands to `keep` is shut at the end, so that no thread is left reading."""

    def __init__(self) -> None:
        self._kept: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        # Little is taken in unread, so that a client notices.
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        self.port: int = self._listener.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self.url = f"http://{self.address}"
        self.start(self._accept)

    def accepted(self, connection: socket.socket) -> None:
        """Called for one connection after the other, in the order they come."""
        raise NotImplementedError

    def start(self, target: Callable[..., None], *args: object) -> None:
        """Run on a thread that `close` waits for."""
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def keep(self, sock: socket.socket) -> socket.socket:
        """`sock`, which `close` will shut."""
        self._kept.append(sock)
        return sock

    def close(self) -> None:
        # A blocked accept() is woken by shutdown(), not by close().
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for each in self._kept:
            shut(each)
        for thread in self._threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.accepted(self.keep(connection))


def shut(sock: socket.socket, how: int = socket.SHUT_RDWR) -> None:
    """Wake whoever reads from a socket; nothing where it is shut already."""
    try:
        sock.shutdown(how)
    except OSError:
        pass
