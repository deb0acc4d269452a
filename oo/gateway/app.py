"""The gateway as a whole: a store, its upstreams, the front and the HTTP server."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from types import TracebackType
from typing import TYPE_CHECKING

from .. import _plugins
from .._core.pipeline import Middleware
from .._core.slots import ClientInfo, Slot
from .audit_log import Audit
from .capacity import Capacity
from .credentials.registry import Registry
from .errors import StoreError
from .fronts.base_url import Front
from .http_server.server import Server, connection_limit
from .listening import SETTLE, bound, hand_on, url_of
from .stack import Stack
from .store.base import Store

if TYPE_CHECKING:
    from typing_extensions import Self

    from .metrics import Metrics


class Gateway:
    """A gateway over a store, which listens while its `async with` block runs: on `host` and `port` (0 takes a free
    one), or on `sock`, a bound socket. `url` is its base URL. Where the block ends, calls under way are cut, unless
    `drain` let them end before."""

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
        max_conns: int | None = None,
        watchers: Sequence[Middleware] = (),
        metrics: Metrics | None = None,
        elsewhere: bool = False,
        kinds: Collection[str] | None = None,
    ) -> None:
        """`plugins` are the names of those to load; ValueError on entering for one that is not there or breaks.
        `max_conns` connections are held at once, 4096 unless told. `watchers` are middlewares outside of all others,
        `metrics` what is counted into. `elsewhere`: its tunnels lead to where no route goes, too.
        `kinds` are those of the credentials for whose import no call waits: all, unless told."""
        self._store = store
        self._address = (host, port)
        self._sock = sock
        self._tls = tls
        self._audit = audit
        self._plugins = plugins
        self._max_conns = max_conns
        self._watchers = watchers
        self._metrics = metrics
        self._elsewhere = elsewhere
        self._kinds = kinds
        self._stack = AsyncExitStack()
        self.url = ""

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            self._sock = bound(*self._address) if self._sock is None else self._sock
            stack.callback(self._sock.close)
            self.url = url_of(self._sock, self._tls is not None)
            self._capacity = Capacity(connection_limit(self._max_conns))
            self._chain = Stack(
                self._store,
                self._audit,
                self._offers(),
                kinds=kinds_with(self._plugins).load(self._kinds),
                capacity=self._capacity,
                watchers=self._watchers,
                metrics=self._metrics,
                elsewhere=self._elsewhere,
            )
            stack.push_async_callback(self._chain.close)
            front = Front(self._chain)
            self._server = Server(front.handle, front.refuse, self._max_conns)
            stack.push_async_callback(self._server.end)
            await self._server.listen(self._sock, self._tls)
            self._stack = stack.pop_all()
        return self

    def _offers(self) -> Mapping[Slot, Sequence[Middleware]]:
        _, offers = _plugins.plugins.named(self._plugins, gateway_info(self.url))
        return offers

    def under_way(self) -> list[tuple[str, str, int]]:
        """How many calls are under way, by route and token."""
        return self._capacity.under_way()

    async def obstacle(self) -> str:
        """Why it could not open things now; "" where it could."""
        return await self._chain.obstacle()

    def reload(self) -> None:
        """Ask the plugins anew for what they put into the chain; calls under way go on in the old one. ValueError where
        one breaks, and nothing has changed then."""
        self._chain.compose(self._offers())

    async def drain(
        self,
        grace: float,
        hurry: asyncio.Event,
        *,
        shared: bool = False,
        leave: Callable[[], object] | None = None,
    ) -> int:
        """Listen no more, and let calls under way end, for `grace` seconds or until `hurry` is set. Returns how many
        are left, which the block's end cuts. On a `shared` port, others take what comes from here on. `leave` has no
        new connection begin, where nobody else listens on the same socket."""
        self._chain.drain()
        if shared and self._sock is not None:
            await hand_on(self._sock, lambda: self._server.made)
        if leave is not None:
            leave()
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(hurry.wait(), SETTLE)  # what is begun still comes
        left = await self._server.drain(grace, hurry, lambda: self._capacity.calls)
        self._chain.cut(left)
        return left

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
