"""Bytes over a socket: a caller with no manners, and an upstream that records what it got to the byte."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse
from typing import NamedTuple
from urllib.parse import urlsplit

from tests.support.faults import FaultServer, answer, serving
from tests.support.waiting import PATIENCE

_LAST = b"GET /health HTTP/1.1\r\nHost: last\r\nConnection: close\r\n\r\n"


class Seen(NamedTuple):
    """A request, taken apart."""

    method: str
    target: str
    fields: list[tuple[str, str]]
    body: bytes

    def get(self, name: str) -> list[str]:
        return [value for field, value in self.fields if field.lower() == name.lower()]


class Answer(NamedTuple):
    """An answer: `raw` is its reason, headers and body, as far as they can be searched."""

    status: int
    fields: list[tuple[str, str]]
    body: bytes
    reason: str

    @property
    def raw(self) -> bytes:
        return self.reason.encode("latin-1") + repr(self.fields).encode() + self.body


class Recorder:
    """An upstream: `serving` its own answers, `take` gives the requests since the last look."""

    def __init__(self, server: FaultServer) -> None:
        self.url = server.url
        self.netloc = urlsplit(server.url).netloc
        self.server = server

    def take(self) -> list[Seen]:
        taken, self.server.requests[:] = list(self.server.requests), []
        return [parsed(each) for each in taken]


def parsed(raw: bytes) -> Seen:
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ", 2)
    pairs = [line.partition(":")[::2] for line in lines]
    fields = [(name, value.strip()) for name, value in pairs]
    return Seen(method, target, fields, unchunked(body) if ("Transfer-Encoding", "chunked") in fields else body)


def unchunked(body: bytes) -> bytes:
    """A chunked body's contents."""
    parts = []
    while body:
        size, _, body = body.partition(b"\r\n")
        parts.append(body[: int(size, 16)])
        body = body[int(size, 16) + 2 :]
    return b"".join(parts)


@contextmanager
def recording(reply: Callable[[bytes], bytes] | None = None) -> Iterator[Recorder]:
    """An upstream while the block runs; without `reply` it echoes each request in its body."""
    with serving(reply=reply or (lambda request: answer(request))) as server:
        yield Recorder(server)


def converse(url: str, raw: bytes, patience: float = PATIENCE, last: bool = True) -> list[Answer]:
    """Every answer that some bytes get. A harmless request for /health follows them, so that whatever else they held
    has been answered when that is; its own answer is left out. Without `last` the gateway must end the connection."""
    answers: list[Answer] = []
    with socket.create_connection(_address(url), PATIENCE) as sock:
        # A server that refuses early does not read the rest, and what it answered must be read nevertheless.
        sender = threading.Thread(target=_send, args=(sock, raw + _LAST if last else raw))
        sender.start()
        sock.settimeout(patience)
        reader = sock.makefile("rb")
        try:
            while (found := one(reader)) is not None:
                answers.append(found)
        except (OSError, HTTPException):
            pass
        finally:
            reader.close()
            sock.settimeout(0.001)
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            sender.join(PATIENCE)
            assert not sender.is_alive()
    healthy = bool(last and answers and answers[-1].body == b'{"status": "ok"}')
    return answers[:-1] if healthy else answers


def one(reader: object, method: str = "GET") -> Answer | None:
    """The next answer of a connection; None where there is no other."""
    response = HTTPResponse(_File(reader), method=method)  # type: ignore[arg-type]  # only its makefile is called
    try:
        response.begin()
        return Answer(response.status, response.getheaders(), response.read(), response.reason)
    except ConnectionError:
        return None


class _File:
    def __init__(self, reader: object) -> None:
        self._reader = reader

    def makefile(self, _mode: str) -> object:
        return _Open(self._reader)


class _Open:
    """A file that http.client may close without an end to the connection's."""

    def __init__(self, reader: object) -> None:
        self._reader = reader

    def __getattr__(self, name: str) -> object:
        return getattr(self._reader, name)

    def close(self) -> None:
        pass


def _address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port
    return parts.hostname, parts.port


def _send(sock: socket.socket, raw: bytes) -> None:
    try:
        sock.sendall(raw)
    except OSError:
        pass
