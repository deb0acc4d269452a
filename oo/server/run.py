"""Running a gateway: listening, and stopping."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

from aiohttp import web

from ..transports.aiohttp import AiohttpTransport
from .front import Front
from .store import Store

if TYPE_CHECKING:
    from typing_extensions import Self


class Gateway:
    """A gateway over a store, listening while its `async with` block runs. `port=0` takes a free one; `url` tells."""

    def __init__(self, store: Store, host: str = "127.0.0.1", port: int = 0) -> None:
        self.store = store
        self.host = host
        self.port = port
        self._transport = AiohttpTransport()
        self._runner: web.ServerRunner | None = None

    @property
    def url(self) -> str:
        """Its base URL."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    async def __aenter__(self) -> Self:
        server = web.Server(Front(self.store, self._transport).handle, access_log=None)
        self._runner = web.ServerRunner(server, shutdown_timeout=2)
        await self._runner.setup()
        await web.TCPSite(self._runner, self.host, self.port).start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
        await self._transport.close()
