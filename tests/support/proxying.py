"""A forward proxy on loopback: absolute URIs, and tunnels by CONNECT."""

from __future__ import annotations

import socket
import ssl
import threading
from urllib.parse import urlsplit

from tests.support.listening import Listener, shut
from tests.support.waiting import PATIENCE


class ForwardProxy(Listener):
    """Passes on what it is sent, over TLS where it has a certificate. `heads` holds the head of the first request of
    each connection."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.heads: list[bytes] = []
        self._tls = tls
        super().__init__()
        if tls is not None:
            self.url = f"https://{self.address}"

    def accepted(self, connection: socket.socket) -> None:
        self.start(self._serve, connection)

    def _serve(self, client: socket.socket) -> None:
        if self._tls is not None:
            try:
                client = self.keep(self._tls.wrap_socket(client, server_side=True))
            except OSError:
                return  # it is not trusted
        with client, client.makefile("rb", buffering=0) as reader:
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += reader.readline()
            self._pass_on(client, head)

    def _pass_on(self, client: socket.socket, head: bytes) -> None:
        self.heads.append(head)
        method, target, _ = head.split(b" ", 2)
        place = urlsplit(b"//" + target if method == b"CONNECT" else target)
        with socket.create_connection((place.hostname.decode(), place.port)) as upstream:
            if method == b"CONNECT":
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                upstream.sendall(head.replace(target, place.path, 1))
            back = threading.Thread(target=_pump, args=(upstream, client), daemon=True)
            back.start()
            _pump(client, upstream)
            back.join(PATIENCE)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        # One of the two has left; so does the other.
        for each in (source, sink):
            shut(each)
