"""The CONNECT front: has the chain say whether a tunnel is opened, and begins it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import aclosing
from functools import partial
from typing import cast

from ..._http.body import Body
from ..._http.headers import FRAMING, Headers
from ..._http.request import Request
from ..._http.response import Response
from ...exceptions import DoubleOError
from ..context import GatewayContext
from ..destinations import Destination, authority_of, tokens_of
from ..http_server import web
from ..http_server._aiohttp_patches import came_early, forget_early, hand_to
from ..http_server.tunnels import ESTABLISHED, Taken, take_over
from ..stack import Stack
from .wire import answer_headers

_EARLY = "nothing may come behind a CONNECT before its answer"
_QUEUED = 64 << 10  # bytes of a caller that wait for the other end
_UNSHOWN = re.compile(r"[^ -~]")


def proxy_tokens(received: web.BaseRequest) -> tuple[str, ...]:
    """The tokens that a caller shows to its proxy; none where there are two credentials."""
    credentials = received.headers.getall("Proxy-Authorization", ())
    return tokens_of(credentials[0]) if len(credentials) == 1 else ()


async def connect(stack: Stack, received: web.BaseRequest, context: GatewayContext) -> web.StreamResponse:
    """Answer a CONNECT. Nothing else is answered on its connection."""
    context.endpoint = "tunnel"
    caller = _Caller(received)
    request = Request(
        "CONNECT", received.raw_path, Headers(received.headers.items()), Body(caller.pieces()), context=context
    )
    context.malformed = _fault(received, context)
    if context.malformed is not None:
        return _refusal(received, stack.refuse(request))
    place = cast("tuple[str, int]", authority_of(received.raw_path))
    context.destination = Destination("https", *place, proxy_tokens(received))
    context.local = received.get_extra_info("sockname", (None, None))[:2]
    response = await stack.handle(request)
    if response.status != 200:
        return _refusal(received, response)
    if came_early(received):
        response.abort()
        context.malformed = _EARLY
        return _refusal(received, stack.refuse(request))
    if context.tunnel is not None:
        destination = context.destination._replace(tunnelled=True)
        return take_over(received, context.tunnel, destination, partial(stack.watch, context))
    return await caller.relay(response, context)


def _fault(received: web.BaseRequest, context: GatewayContext) -> str | None:
    """What is wrong with the HTTP of a CONNECT, or None."""
    if context.destination is not None:
        return "there is no tunnel within a tunnel"
    if authority_of(received.raw_path) is None:
        return "the target of a CONNECT is a host and a port"
    if any(name in received.headers for name in FRAMING):  # RFC 9110, 9.3.6
        return "a CONNECT has no body"
    return _EARLY if came_early(received) else None


def _refusal(received: web.BaseRequest, response: Response) -> web.StreamResponse:
    """A refusal whose reason stands in the reason phrase: most clients show nothing else of it."""
    forget_early(received)
    reason = _UNSHOWN.sub("?", str(response.json()["error"]))
    answer = web.Response(status=response.status, reason=reason, headers=answer_headers(response), body=response.body)
    answer.force_close()
    return answer


class _Caller:
    """The caller's end of a tunnel that is not looked into."""

    def __init__(self, received: web.BaseRequest) -> None:
        self._received = received
        self._pieces: asyncio.Queue[bytes] = asyncio.Queue()
        self._waiting = 0
        self._is_paused = False

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Take what has come. It is for aiohttp, which has it from the connection."""
        self._pieces.put_nowait(data)
        self._waiting += len(data)
        transport = self._received.transport
        if self._waiting > _QUEUED and not self._is_paused and transport is not None:
            self._is_paused = True
            transport.pause_reading()
        return False, b""

    def feed_eof(self) -> None:
        """Do nothing: the handler of the connection is cancelled."""

    async def pieces(self) -> AsyncIterator[bytes]:
        """What the caller sends."""
        while True:
            piece = await self._pieces.get()
            self._waiting -= len(piece)
            yield piece
            if self._is_paused and self._waiting <= _QUEUED // 2 and self._received.transport is not None:
                self._is_paused = False
                self._received.transport.resume_reading()

    async def relay(self, response: Response, context: GatewayContext) -> web.StreamResponse:
        """Open the tunnel, and send what comes from the other end until either closes."""
        received, stream = self._received, response.stream
        transport = received.transport
        try:
            if transport is None or stream is None:
                raise ConnectionResetError
            hand_to(received, self)
            transport.write(ESTABLISHED)
            async with aclosing(stream) as pieces:
                async for piece in pieces:
                    context.bytes_out += len(piece)
                    transport.write(piece)
                    await received.writer.drain()
        except DoubleOError:
            pass  # the other end broke off, and so does this one
        finally:
            response.abort()
        return Taken()
