"""Proxied calls: what of a caller's request goes upstream, and what of the answer comes back."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Iterable
from contextlib import aclosing
from functools import lru_cache
from typing import Any, TypeVar

from .._core.io import LoopIO
from .._core.masking import Mask, StreamMask
from .._core.pipeline import CallNext, Pipeline
from .._http.request import ByteStream, Headers, Request, Response
from ..exceptions import DoubleOError
from ..transports.aiohttp import AiohttpTransport
from ..transports.network_errors import Proxies
from .egress import PublicResolver, check_literal
from .models import Route, Store

T = TypeVar("T")

# RFC 9110, 7.6.1, with what older agents send.
_HOP_BY_HOP = {
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
}
# Whose they are: the caller's identity and address, the framing and encoding of one hop, and what would have the
# upstream take the request for another than the route allowed.
_NOT_UPSTREAM = _HOP_BY_HOP | {
    "accept-encoding",
    "api-key",
    "apikey",
    "authorization",
    "content-length",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "via",
    "x-access-token",
    "x-api-key",
    "x-auth-token",
    "x-goog-api-key",
    "x-host",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-host",
    "x-original-url",
    "x-real-ip",
    "x-rewrite-url",
}
_FORWARDED = "x-forwarded-"
_NOT_BACK = _HOP_BY_HOP | {"content-encoding", "content-length", "date", "server", "set-cookie", "x-request-id"}
_VALUE = re.compile(r"[!-~](?:[ -~]*[!-~])?")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_SMALL = 64 << 10  # bytes
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
            response.abandon()
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
            False: AiohttpTransport(resolver=PublicResolver(Proxies().places()), streamless=_SMALL),
            True: AiohttpTransport(streamless=_SMALL),
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


def upstream_request(
    route: Route, method: str, path: str, headers: Iterable[tuple[str, str]], body: bytes | None
) -> Request:
    """A caller's request as it goes to the route's upstream. `path` is what followed /api/proxy/, already checked."""
    pairs = tuple(headers)
    dropped = _named_by_connection(pairs) | {_plain(name) for name in route.inject}
    base = route.upstream.rstrip("/")
    passed = [
        (name, _sendable(value))
        for name, value in pairs
        if (plain := _plain(name)) not in _NOT_UPSTREAM and plain not in dropped and not plain.startswith(_FORWARDED)
    ]
    return Request(
        method,
        f"{base}/{path}",
        Headers(passed),
        body,
        operation="proxy",
        read=_as_it_is,
        base_url=base,
        timeout=route.timeout,
        stream=True,
        extensions={"route": route},
    )


def caller_headers(response: Response) -> list[tuple[str, str]]:
    """What of an upstream's headers a caller gets."""
    pairs = response.headers.pairs()
    dropped = _NOT_BACK | _named_by_connection(pairs)
    if response.request.method == "HEAD" and "Content-Encoding" not in response.headers:
        dropped = dropped - {"content-length"}  # it tells of the body that a GET would have
    return [(name, _sendable(value)) for name, value in pairs if _plain(name) not in dropped]


def _named_by_connection(pairs: Iterable[tuple[str, str]]) -> set[str]:
    return {
        _plain(option.strip()) for name, value in pairs if _plain(name) == "connection" for option in value.split(",")
    }


@lru_cache(512)  # most calls have the names of another
def _plain(name: str) -> str:
    # CGI and WSGI take X_Key for X-Key (RFC 3875, 4.1.18).
    return name.lower().replace("_", "-")


def _sendable(value: str) -> str:
    """A header's value as aiohttp can write it: bytes that are no UTF-8 are Latin-1 (RFC 9110, 5.5)."""
    if value.isascii() and value.isprintable():
        return value
    try:
        value.encode()
    except UnicodeEncodeError:
        value = value.encode("utf-8", "surrogateescape").decode("latin-1")
    return _CONTROL.sub(" ", value)


def _as_it_is(response: Response) -> Response:
    return response
