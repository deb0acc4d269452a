"""Proxied calls: what of a caller's request goes upstream, and what of the answer comes back."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from contextlib import aclosing
from typing import Any, TypeVar

from .._core.io import LoopIO
from .._core.masking import Mask, StreamMask
from .._core.pipeline import CallNext, Pipeline
from .._http.headers import Headers
from .._http.request import Request
from .._http.response import ByteStream, Response
from ..exceptions import DoubleOError
from ..transports.aiohttp import AiohttpTransport
from ..transports.proxy_env import Proxies
from .egress import PublicResolver, check_literal
from .models import Route
from .store.base import Store

T = TypeVar("T")
_VALUE = re.compile(r"[!-~](?:[ -~]*[!-~])?")
_SMALL = 64 << 10  # bytes
_CONNECTIONS = 4096  # as many as callers may have
_GRACE = 1.0  # seconds that calls which must not break off are given when the gateway stops


class SwapCredential:
    """The innermost middleware: the route's headers, with the real secrets in them, go upstream; none of it comes
    back, whatever the upstream echoes."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._credentials: dict[str, _Credential] = {}

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        route: Route = request.extensions["route"]
        values = {name: await self._store.secret(name) for name in route.secrets}
        credential = self._credentials.get(route.name)
        if credential is None or credential.route is not route or credential.values != values:
            credential = self._credentials[route.name] = _Credential(route, values)
        for name, value in credential.headers:
            request = request.with_header(name, value)
        response = await call_next(request)
        if response.status < 200:
            response.abort()
            raise DoubleOError("it switched to another protocol, unasked", reason="protocol")
        mask, headers = credential.mask, response.headers
        together = "\n".join([text for pair in headers.pairs() for text in pair])
        if mask.text(together) != together:
            headers = Headers([(mask.text(name), mask.text(value)) for name, value in headers.pairs()])
        if response.stream is None:
            return response.replace(headers=headers, body=mask.data(response.body))
        return response.replace(headers=headers, stream=Masked(response.stream, mask))


class _Credential:
    """A route's headers with the secrets in them, and what hides these. DoubleOError where they cannot be sent."""

    def __init__(self, route: Route, values: dict[str, str | None]) -> None:
        self.route = route
        self.values = values
        known = {name: value for name, value in values.items() if value is not None}
        if len(known) < len(values):
            raise DoubleOError("a secret that it injects is missing", reason="argument")
        self.headers = tuple(route.headers(known).items())
        for name, value in self.headers:
            if not _VALUE.fullmatch(value):
                raise DoubleOError(f"the text it injects as {name} cannot be a header", reason="argument")
        self.mask = Mask(known.values())


class Masked:
    """An upstream's body as it comes, masked."""

    def __init__(self, stream: ByteStream, mask: Mask) -> None:
        self._stream = stream
        self._mask = StreamMask(mask)
        self._left: int | None = getattr(stream, "length", None)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async with aclosing(self.pieces()) as pieces:
            async for piece, _ in pieces:
                yield piece

    async def pieces(self) -> AsyncGenerator[tuple[bytes, bool], None]:
        """Each piece, and whether it is known to be the last."""
        async for piece in self._stream:
            last = False
            if self._left is not None:
                self._left -= len(piece)
                last = self._left == 0
            masked = self._mask.feed(piece)
            yield masked + self._mask.finish() if last else masked, last
        if rest := self._mask.finish():
            yield rest, True

    async def aclose(self) -> None:
        """Leave the rest."""
        await self._stream.aclose()


def pieces_of(stream: ByteStream) -> AsyncGenerator[tuple[bytes, bool], None]:
    """The pieces of an upstream's masked body, each with whether it is known to be the last."""
    if not isinstance(stream, Masked):
        raise TypeError("a proxied answer must come through SwapCredential")
    return stream.pieces()


class Upstreams:
    """The chains of all proxied calls: one for upstreams anywhere but on private networks, one for any."""

    def __init__(self, store: Store) -> None:
        self._transports = {
            False: AiohttpTransport(
                resolver=PublicResolver(Proxies().places()), streamless=_SMALL, max_connections=_CONNECTIONS
            ),
            True: AiohttpTransport(streamless=_SMALL, max_connections=_CONNECTIONS),
        }
        swap = SwapCredential(store)
        self._pipelines = {
            private: Pipeline([swap], transport, LoopIO()) for private, transport in self._transports.items()
        }
        self._finishing: set[asyncio.Task[Any]] = set()

    async def handle(self, request: Request) -> Response:
        """The upstream's answer, whatever its status; DoubleOError where none came."""
        route: Route = request.extensions["route"]
        if not route.allow_private:
            check_literal(route.upstream)
        return await self._pipelines[route.allow_private].handle(request)

    async def finish(self, making: Coroutine[Any, Any, T]) -> T:
        """What a coroutine returns. It goes on to its end even when whoever waits for it is cancelled."""
        task = asyncio.create_task(making)
        self._finishing.add(task)
        task.add_done_callback(self._finished)
        await asyncio.wait([task])
        return task.result()

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._finishing.discard(task)
        if not task.cancelled():
            task.exception()  # seen, though nobody may wait for it any more

    async def close(self) -> None:
        """Close the connections, once the calls that must not break off have had a moment to end."""
        if self._finishing:
            _, late = await asyncio.wait(self._finishing, timeout=_GRACE)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        for transport in self._transports.values():
            await transport.close()
