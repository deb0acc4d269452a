"""A raw-socket server on loopback that misbehaves to order.

A connection follows a script: bytes to send, and the steps below. What comes after the script, on that connection or a
new one, is answered with GOOD, so that a client which silently sends again is seen to succeed, and one whose
connection is out of step is seen to fail. Or each request is answered with what `reply` makes of it.
"""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TypeAlias

from tests.support.listening import Listener
from tests.support.waiting import PATIENCE

READ = "read"
"""Wait for one whole request."""
GULP = "gulp"
"""Take what has come, whatever it is."""
CLOSE = "close"
"""End the connection in order."""
RESET = "reset"
"""End it with a RST."""
NOTIFY = "notify"
"""End TLS in order, with close_notify."""
SILENCE = "silence"
"""Read, and say nothing, until the client has left."""


class Drip:
    """Send `data` in pieces of `size` bytes, one every `every` seconds."""

    def __init__(self, data: bytes, every: float = 0.0, size: int = 1) -> None:
        self.pieces = [data[start : start + size] for start in range(0, len(data), size)]
        self.every = every


class Endless:
    """Send `data` again and again until the client has left."""

    def __init__(self, data: bytes) -> None:
        self.data = data


Step: TypeAlias = "bytes | str | float | Drip | Endless"
"""Bytes to send, seconds to wait, or one of the steps above."""

Script: TypeAlias = Sequence[Step]
"""What one connection does."""


SECRET = "gleaming-canary-55"
BODY = b'{"value": "%b", "secrets": {"NAME": "%b"}}' % (SECRET.encode(), SECRET.encode())
"""What a secret, an environment and an API may all answer."""


def answer(body: bytes = b'{"value": "good"}', *fields: bytes, status: bytes = b"200 OK") -> bytes:
    """A whole answer, with the right Content-Length."""
    length = b"Content-Length: %d" % len(body)
    return head(length, *fields, status=status) + body


def head(*fields: bytes, status: bytes = b"200 OK") -> bytes:
    """A status line and a header block."""
    return b"\r\n".join([b"HTTP/1.1 " + status, *fields, b"", b""])


GOOD = answer(BODY)
DRIPPED = Drip(b"HTTP/1.1 200 " + b"O" * 3000, 0.02)
"""A status line that takes a minute."""


class FaultServer(Listener):
    """Listens on loopback; the connections follow `scripts` in the order they come.

    `reply` answers what comes after them, in the place of GOOD, with bytes or a script of its own. `requests` holds the
    bytes of each request, `connections` counts those accepted, `left` those that have ended. A client that waits, or
    keeps waiting, for longer than PATIENCE loses its connection, and so the test fails instead of hanging.
    """

    def __init__(
        self,
        *scripts: Script,
        tls: ssl.SSLContext | None = None,
        reply: Callable[[bytes], bytes | Script] | None = None,
    ) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self.left = 0
        self._scripts = scripts
        self._tls = tls
        self._reply = reply or (lambda _request: GOOD)
        self._changed = threading.Condition()
        self._over = threading.Event()
        super().__init__()
        if tls is not None:
            self.url = f"https://{self.address}"

    def until(self, *, connections: int = 0, left: int = 0, requests: int = 0) -> bool:
        """Wait until so many were seen; False where that takes longer than PATIENCE."""
        with self._changed:
            return self._changed.wait_for(
                lambda: self.connections >= connections and self.left >= left and len(self.requests) >= requests,
                PATIENCE,
            )

    def close(self) -> None:
        self._over.set()
        super().close()

    def accepted(self, connection: socket.socket) -> None:
        connection.settimeout(PATIENCE)
        with self._changed:
            script = self._scripts[self.connections] if self.connections < len(self._scripts) else ()
            self.connections += 1
            self._changed.notify_all()
        self.start(self._serve, connection, script)

    def _serve(self, connection: socket.socket, script: Script) -> None:
        try:
            if self._tls is not None:
                connection = self.keep(
                    self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
                )
                connection.do_handshake()  # type: ignore[attr-defined]  # an SSLSocket
            # A file that is left open keeps its socket, which then warns when it is collected.
            with connection.makefile("rb") as reader:
                if self._play(script, connection, reader):
                    while request := self._read(reader):
                        reply = self._reply(request)
                        if not self._play([reply] if isinstance(reply, bytes) else reply, connection, reader):
                            break
        except (OSError, ValueError):
            # ValueError: the reader of a socket that `close` has shut.
            pass
        finally:
            connection.close()
            with self._changed:
                self.left += 1
                self._changed.notify_all()

    def _play(self, script: Script, connection: socket.socket, reader: object) -> bool:
        """Take the steps; False where one of them ended the connection."""
        for step in script:
            if step in (CLOSE, RESET):
                if step == RESET:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return False
            self._take(step, connection, reader)
        return True

    def _take(self, step: Step, connection: socket.socket, reader: object) -> None:
        if isinstance(step, bytes):
            connection.sendall(step)
        elif isinstance(step, float):
            self._over.wait(step)
        elif isinstance(step, Drip):
            for piece in step.pieces:
                connection.sendall(piece)
                if step.every and self._over.wait(step.every):
                    return
        elif isinstance(step, Endless):
            while True:
                connection.sendall(step.data)
        elif step == READ:
            self._read(reader)
        elif step == GULP:
            connection.recv(65536)
        elif step == NOTIFY:
            connection.unwrap()  # type: ignore[attr-defined]  # an SSLSocket
        else:
            assert step == SILENCE
            while self._read(reader):
                pass

    def _read(self, reader: object) -> bytes:
        text, length, chunked = b"", 0, False
        while line := reader.readline():  # type: ignore[attr-defined]  # a file
            text += line
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
            chunked = chunked or line.lower() == b"transfer-encoding: chunked\r\n"
            if line == b"\r\n":
                while chunked:
                    size = reader.readline()  # type: ignore[attr-defined]  # a file
                    if not size:
                        return b""  # broken off
                    chunk = reader.read(int(size, 16) + 2)  # type: ignore[attr-defined]  # a file
                    text += size + chunk
                    chunked = len(chunk) > 2
                body = b""
                while len(body) < length:  # in steps: it may be said to be larger than memory
                    if not (more := reader.read(min(length - len(body), 1 << 20))):  # type: ignore[attr-defined]
                        return b""  # broken off
                    body += more
                text += body
                with self._changed:
                    self.requests.append(text)
                    self._changed.notify_all()
                return text
        return b""


serving = FaultServer
"""`with serving(...) as server:` reads well."""


@contextmanager
def nobody() -> Iterator[str]:
    """A URL where nothing listens: a port that is bound, and so nobody else's."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


@contextmanager
def unaccepting() -> Iterator[str]:
    """A URL whose port answers no attempt to connect: its queue is full."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
