"""The gateway as a whole: a store, its upstreams, the front and the HTTP server."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import TYPE_CHECKING

from .. import _plugins
from ..hooks import ClientInfo
from .audit_log import Audit
from .capacity import Capacity
from .credentials.registry import Registry
from .errors import StoreError
from .fronts.base_url import Front
from .http_server.server import BACKLOG, HEADER_TIMEOUT, Server, connection_limit
from .stack import Stack
from .store.base import Store

if TYPE_CHECKING:
    from typing_extensions import Self


class Gateway:
    """A gateway over a store, which listens while its `async with` block runs: on `host` and `port` (0 takes a free
    one), or on `sock`, a bound socket. `url` is its base URL."""

    def __init__(
        self,
        store: Store,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        sock: socket.socket | None = None,
        tls: ssl.SSLContext | None = None,
        audit: Audit | None = None,
        plugins: Sequence[str] = (),
    ) -> None:
        """`plugins` are the names of those to load; ValueError on entering for one that is not there or breaks."""
        self._store = store
        self._address = (host, port)
        self._sock = sock
        self._tls = tls
        self._audit = audit
        self._plugins = plugins
        self._stack = AsyncExitStack()
        self.url = ""

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            sock = bound(*self._address) if self._sock is None else self._sock
            stack.callback(sock.close)
            self.url = url_of(sock, self._tls is not None)
            _, offers = _plugins.plugins.named(self._plugins, gateway_info(self.url))
            kinds = kinds_with(self._plugins).load()
            chain = Stack(self._store, self._audit, offers, kinds=kinds, capacity=Capacity(connection_limit()))
            stack.push_async_callback(chain.close)
            front = Front(chain)
            server = Server(front.handle, front.refuse)
            stack.push_async_callback(server.end)
            patience = None if self._tls is None else HEADER_TIMEOUT
            listener = await asyncio.get_running_loop().create_server(
                server, sock=sock, ssl=self._tls, ssl_handshake_timeout=patience, backlog=BACKLOG
            )
            stack.callback(listener.close)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._stack.aclose()


def kinds_with(plugins: Iterable[str]) -> Registry:
    """The kinds of credentials, with those of some plugins; ValueError for one that breaks or adds what is none."""
    added = _plugins.plugins.credentials(plugins)
    try:
        return Registry(added)
    except StoreError as error:
        raise ValueError(str(error)) from None


def gateway_info(url: str) -> ClientInfo:
    """What a plugin is told of a gateway."""
    return ClientInfo(url, blocking=False, retries=0, role="gateway")


def bound(host: str, port: int) -> socket.socket:
    """Bind a socket to an address, without listening; OSError if the address is taken."""
    family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    sock = socket.socket(family, kind, proto)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
    except BaseException:
        sock.close()
        raise
    sock.set_inheritable(True)
    return sock


def url_of(sock: socket.socket, tls: bool) -> str:
    """The base URL of a bound socket."""
    host, port = sock.getsockname()[:2]
    return f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"
