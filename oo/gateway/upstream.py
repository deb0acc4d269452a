"""Proxied calls: the chains that they run through, and their connections."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from .._core.io import LoopIO
from .._core.pipeline import Middleware, Pipeline
from .._http.request import Request
from .._http.response import Response
from ..transports.aiohttp import AiohttpTransport
from ..transports.proxy_env import Proxies
from .context import of_route
from .egress import PublicResolver, check_literal
from .middleware.inject import InjectCredentials
from .middleware.mask import MaskResponse
from .middleware.whole_answers import WholeAnswers
from .store.base import Store

T = TypeVar("T")
_SMALL = 64 << 10  # bytes: an answer up to that size comes whole, not as a stream
_GRACE = 1.0  # seconds that calls which must be completed are given when the gateway stops
_CONNECTIONS = 4096  # as many as callers may have


class Upstreams:
    """The chains of all proxied calls: one for public upstreams alone, one for upstreams at any address."""

    def __init__(self, store: Store) -> None:
        self._transports = {
            False: AiohttpTransport(
                resolver=PublicResolver(Proxies().places()), streamless=_SMALL, max_connections=_CONNECTIONS
            ),
            True: AiohttpTransport(streamless=_SMALL, max_connections=_CONNECTIONS),
        }
        chain: list[Middleware] = [MaskResponse(), WholeAnswers(), InjectCredentials(store)]
        self._pipelines = {
            private: Pipeline(chain, transport, LoopIO()) for private, transport in self._transports.items()
        }
        self._finishing: set[asyncio.Task[Any]] = set()

    async def handle(self, request: Request) -> Response:
        """The upstream's answer, whatever its status; DoubleOError if none came."""
        route = of_route(request)
        if not route.allow_private:
            check_literal(route.upstream)
        return await self._pipelines[route.allow_private].handle(request)

    async def run_to_completion(self, call: Coroutine[Any, Any, T]) -> T:
        """Await a coroutine, which is completed even if whoever waits for it is cancelled."""
        task = asyncio.create_task(call)
        self._finishing.add(task)
        task.add_done_callback(self._finished)
        await asyncio.wait([task])
        return task.result()

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._finishing.discard(task)
        if not task.cancelled():
            task.exception()  # marked as retrieved, since nobody may wait for it

    async def close(self) -> None:
        """Close the connections, after a second at most for the calls that must be completed."""
        if self._finishing:
            _, late = await asyncio.wait(self._finishing, timeout=_GRACE)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        for transport in self._transports.values():
            await transport.close()
