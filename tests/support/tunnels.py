"""The forward proxy by raw sockets, and by programs."""

from __future__ import annotations

import asyncio
import base64
import os
import socket
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from oo.gateway.app import Gateway
from oo.testing import BackgroundLoop, LocalGateway, temporary_vault
from tests.support.waiting import PATIENCE


@asynccontextmanager
async def _settled() -> AsyncIterator[None]:
    """Entered first on a loop, it gives the loop the time to close, at the end, what was cut there."""
    yield
    await asyncio.sleep(0.1)


@contextmanager
def gateway(**settings: Any) -> Iterator[LocalGateway]:
    """A gateway on loopback, which may tunnel elsewhere."""
    with BackgroundLoop() as background:
        background.enter(_settled())
        vault = background.enter(temporary_vault())
        server = background.enter(Gateway(vault, **settings))
        yield LocalGateway(server.url, vault, background)


class Proxied:
    """A gateway with a token, for whoever uses it as a forward proxy. `ca` is a file: what has to be trusted."""

    def __init__(self, gateway: LocalGateway, token: str, directory: Path) -> None:
        self.gateway, self.token = gateway, token
        host, _, port = gateway.url.removeprefix("http://").rpartition(":")
        self.address = (host, int(port))
        self.ca = directory / "trusted.pem"
        self.ca.write_text(self.certificates(token))

    def certificates(self, token: str) -> str:
        asked = urllib.request.Request(f"{self.gateway.url}/ca.pem", headers={"Authorization": f"Bearer {token}"})
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(asked, timeout=PATIENCE) as answer:
            text: str = answer.read().decode()
            return text

    def socket(self) -> socket.socket:
        return socket.create_connection(self.address, PATIENCE)

    def connect(self, target: str, token: str | None = None) -> tuple[socket.socket, bytes]:
        """A connection on which CONNECT was sent, and the head of its answer."""
        sock = self.socket()
        sock.sendall(connect_head(target, self.token if token is None else token))
        return sock, head_of(sock)

    def tunnel(self, target: str, token: str | None = None, ca: str = "", name: str | None = None) -> ssl.SSLSocket:
        """A tunnel, its TLS begun."""
        sock, head = self.connect(target, token)
        assert head.startswith(b"HTTP/1.1 200 "), head
        context = ssl.create_default_context(cafile=ca or str(self.ca))
        return context.wrap_socket(sock, server_hostname=name or target.rpartition(":")[0].strip("[]"))

    def run(self, *command: str, token: str | None = None, options: tuple[str, ...] = (), **env: str) -> Done:
        """Run a program by `oo run --proxied`, with its output."""
        environ = {
            **{name: value for name, value in os.environ.items() if not name.upper().startswith("OO_")},
            "OO_TOKEN": self.token if token is None else token,
            "OO_BASE_URL": self.gateway.url,
            **env,
        }
        start = [sys.executable, "-m", "oo.cli", "run", "--proxied", *options, "--", *command]
        return subprocess.run(start, capture_output=True, text=True, timeout=120, env=environ, stdin=subprocess.DEVNULL)


Done = subprocess.CompletedProcess[str]


def connect_head(target: str, token: str, extra: str = "") -> bytes:
    credential = base64.b64encode(f"oo:{token}".encode()).decode()
    shown = f"Proxy-Authorization: Basic {credential}\r\n" if token else ""
    return f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{shown}{extra}\r\n".encode()


def head_of(sock: socket.socket) -> bytes:
    """The head of an answer, and not a byte more; less where the connection ends before."""
    head = b""
    while not head.endswith(b"\r\n\r\n") and (byte := sock.recv(1)):
        head += byte
    return head


def answer_of(sock: socket.socket) -> tuple[int, bytes]:
    """The status and the body of an answer that has a length."""
    head = head_of(sock)
    length = int(dict(_fields(head)).get(b"content-length", b"0"))
    body = b""
    while len(body) < length and (piece := sock.recv(length - len(body))):
        body += piece
    return int(head.split(b" ", 2)[1]), body


def _fields(head: bytes) -> list[tuple[bytes, bytes]]:
    lines = head.split(b"\r\n")[1:-2]
    return [(name.lower(), value.strip()) for name, _, value in (line.partition(b":") for line in lines)]
