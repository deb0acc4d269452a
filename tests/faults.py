"""A raw-socket server on loopback that misbehaves to order.

A connection follows a script: bytes to send, and the steps below. What comes after the script, on that connection or a
new one, is answered with GOOD, so that a client which silently sends again is seen to succeed, and one whose
connection is out of step is seen to fail.
"""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import BinaryIO, TypeAlias

READ = "read"
"""Wait for one whole request."""
GULP = "gulp"
"""Take what has come, whatever it is."""
CLOSE = "close"
"""End the connection in order."""
RESET = "reset"
"""End it with a RST."""
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

Reply: TypeAlias = "bytes | Script"
"""What one request gets."""


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


class FaultServer:
    """Listens on loopback; the connections follow `scripts` in the order they come.

    `reply` answers what comes after them, in the place of GOOD, with bytes or a script. `requests` holds the bytes of
    each request, `connections` counts those accepted, `left` those that have ended.
    """

    def __init__(
        self, *scripts: Script, tls: ssl.SSLContext | None = None, reply: Callable[[bytes], Reply] | None = None
    ) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self.left = 0
        self._scripts = scripts
        self._tls = tls
        self._reply = reply or (lambda _request: GOOD)
        self._changed = threading.Condition()
        self._over = threading.Event()
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        # Little is taken in unread, so that a client notices.
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self.port}"
        self._start(self._accept)

    def until(self, *, connections: int = 0, left: int = 0, requests: int = 0) -> bool:
        """Wait until so many were seen; False where that takes over two seconds."""
        with self._changed:
            return self._changed.wait_for(
                lambda: self.connections >= connections and self.left >= left and len(self.requests) >= requests, 2
            )

    def close(self) -> None:
        self._over.set()
        # A blocked accept() is woken by shutdown(), not by close().
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for each in self._sockets:
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
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
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sockets.append(connection)
            with self._changed:
                script = self._scripts[self.connections] if self.connections < len(self._scripts) else ()
                self.connections += 1
                self._changed.notify_all()
            self._start(self._serve, connection, script)

    def _serve(self, connection: socket.socket, script: Script) -> None:
        try:
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
                self._sockets.append(connection)
                connection.do_handshake()
            reader = connection.makefile("rb")
            if not self._follow(script, connection, reader):
                return
            while request := self._read(reader):
                reply = self._reply(request)
                if not self._follow([reply] if isinstance(reply, bytes) else reply, connection, reader):
                    return
        except (OSError, ValueError):
            # ValueError: the reader of a socket that `close` has shut.
            pass
        finally:
            connection.close()
            with self._changed:
                self.left += 1
                self._changed.notify_all()

    def _follow(self, script: Script, connection: socket.socket, reader: BinaryIO) -> bool:
        """Whether the connection goes on after it."""
        for step in script:
            if step in (CLOSE, RESET):
                reader.close()
                if step == RESET:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return False
            self._take(step, connection, reader)
        return True

    def _take(self, step: Step, connection: socket.socket, reader: BinaryIO) -> None:
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
        else:
            assert step == SILENCE
            while self._read(reader):
                pass

    def _read(self, reader: BinaryIO) -> bytes:
        text, length = b"", 0
        while line := reader.readline():
            text += line
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
            if line == b"\r\n":
                text += reader.read(length)
                with self._changed:
                    self.requests.append(text)
                    self._changed.notify_all()
                return text
        return b""


@contextmanager
def serving(
    *scripts: Script, tls: ssl.SSLContext | None = None, reply: Callable[[bytes], Reply] | None = None
) -> Iterator[FaultServer]:
    """A FaultServer while the block runs."""
    server = FaultServer(*scripts, tls=tls, reply=reply)
    try:
        yield server
    finally:
        server.close()


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
