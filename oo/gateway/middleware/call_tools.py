"""What a kind of credentials may do on behalf of one call."""

from __future__ import annotations

import time
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

from ..._core.io import IO
from ..._core.pipeline import Transport
from ..._http.body import Body
from ..._http.request import Request
from ..._http.response import Response
from ...exceptions import DoubleOError
from ..background import Background
from ..context import GatewayContext, gateway_context, of_route
from ..rules import goes_in_clear
from ..spool import spooled
from ..store.base import Store
from .mask import hide

T = TypeVar("T")


class Workshop:
    """What the tools of all calls are made of: where versions are kept, what sends, and what is completed."""

    def __init__(self, store: Store, upstream: Transport, background: Background) -> None:
        self.store = store
        self.upstream = upstream
        self.background = background


class CallTools:
    """The CredentialTools of one call."""

    __slots__ = ("_call", "_shop", "io")

    def __init__(self, call: Request, shop: Workshop, io: IO) -> None:
        self._call = call
        self._shop = shop
        self.io = io

    @property
    def allow_weak(self) -> bool:
        return of_route(self._call).allow_weak

    def now(self) -> float:
        return time.time()

    def hide(self, values: Iterable[str]) -> None:
        hide(self._call, values)

    async def send(self, request: Request) -> Response:
        # A call of its own, straight to the transport: whether private addresses are allowed is the route's to say.
        context = GatewayContext()
        context.route = route = of_route(self._call)
        if goes_in_clear(route, request.url):
            raise DoubleOError("what it fetches a token from is plain http", reason="argument")
        base = request.url.partition("?")[0]
        own = request.replace(url=request.url, base_url=base, stream_response=False, context=context)
        try:
            return await self._shop.upstream.send(own)
        except DoubleOError as error:
            if error.reason == "deadline":
                raise
            why, retryable = str(error), error.retryable
        # It is no failure of the upstream, for which another would be asked.
        raise DoubleOError(f"what it fetches a token from failed: {why}", reason="status", retryable=retryable)

    async def complete(self, work: Coroutine[Any, Any, T]) -> T:
        return await self._shop.background.complete(work)

    async def spool(self, body: Body) -> Body:
        return await spooled(body, gateway_context(self._call).place)

    async def store_version(self, name: str, value: str) -> None:
        await self._shop.store.put_secret(name, value)
