"""The administrators' listener: a socket of its own, with its own front."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from .app import Gateway
from .errors import StoreError
from .fronts.admin import AdminFront, pages
from .http_server.server import Server
from .paths import exposed

_CONNECTIONS = 64  # at once


def read_token(path: str | None) -> bytes | None:
    """The token that a file holds; StoreError where it holds none, or others can read it."""
    if path is None:
        return None
    try:
        token = Path(path).read_bytes().strip()
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}") from None
    if why := exposed(Path(path)):
        raise StoreError(f"{why}, which is the token of the metrics: `chmod 600` it")
    if len(token) < 16:
        raise StoreError(f"{path} holds no token of 16 characters or more: `openssl rand -hex 32` prints one")
    return token


@asynccontextmanager
async def listening(
    gateway: Gateway, sock: socket.socket, tls: ssl.SSLContext | None, token: bytes | None, counts: Path
) -> AsyncIterator[None]:
    """Answer administrators on a bound socket while the block runs. `counts` is where the workers count."""
    from .exposition import exposition

    front = AdminFront(pages(gateway.obstacle, partial(exposition, counts)), token)
    server = Server(front.handle, front.refuse, _CONNECTIONS)
    await server.listen(sock, tls)
    try:
        yield
    finally:
        await server.end()
