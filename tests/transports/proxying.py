"""A forward proxy on loopback: absolute URIs, and tunnels by CONNECT."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit


class ForwardProxy:
    """Passes on what it is sent. `heads` holds the head of the first request of each connection."""

    def __init__(self) -> None:
        self.heads: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.url = f"http://{self.address}"
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def close(self) -> None:
        # A blocked accept() is woken by shutdown(), not by close().
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(5)
            assert not thread.is_alive()

    def _start(self, target: object, *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)  # type: ignore[arg-type]  # a function
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._start(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        reader = client.makefile("rb", buffering=0)
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += reader.readline()
        self.heads.append(head)
        method, target, _ = head.split(b" ", 2)
        place = urlsplit(b"//" + target if method == b"CONNECT" else target)
        upstream = socket.create_connection((place.hostname.decode(), place.port))
        if method == b"CONNECT":
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            upstream.sendall(head.replace(target, place.path, 1))
        back = threading.Thread(target=_pump, args=(upstream, client), daemon=True)
        back.start()
        _pump(client, upstream)
        back.join(5)
        for each in (reader, client, upstream):
            each.close()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        # One of the two has left; so does the other.
        for each in (source, sink):
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


@contextmanager
def proxying() -> Iterator[ForwardProxy]:
    """A ForwardProxy while the block runs."""
    proxy = ForwardProxy()
    try:
        yield proxy
    finally:
        proxy.close()
