"""Tunnels to where no route goes: bytes that nobody looks into, to port 443 of public addresses alone."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import suppress

if sys.version_info >= (3, 11):
    from asyncio import timeout
else:
    from async_timeout import timeout

from .._http.body import Body
from .._http.headers import Headers
from .._http.request import Request
from .._http.response import Response
from ..exceptions import DoubleOError
from .audit_log import Audit
from .capacity import Capacity
from .context import GatewayContext, gateway_context
from .egress import PublicResolver
from .errors import GatewayError
from .open_calls import OpenCall, OpenCalls

PORT = 443
"""The only port that is tunnelled to."""
IDLE = 300.0
"""Seconds after which a tunnel ends in which nothing has passed."""

_CONNECT = 10.0  # seconds for one address
_PIECE = 64 << 10  # bytes
_TURNS = 5  # of the loop in which calls that were cancelled leave, and their connections are closed
_NOT_ALLOWED = "not allowed"


class Elsewhere:
    """Opens such a tunnel: the answer's body is what comes from there, the request's is sent there.

    It is a call that is under way until it ends, by either side, when its token opens nothing any more, or when nothing
    has passed for a while. GatewayError (403) for another port or an address that is not public; 502. AuditFailed.
    """

    def __init__(self, capacity: Capacity, calls: OpenCalls, audit: Audit | None = None) -> None:
        """The `audit` has a line before anything is sent, as of any call."""
        self._audit = audit
        self._capacity = capacity
        self._calls = calls
        self._resolver = PublicResolver()
        self._open: set[asyncio.StreamWriter] = set()

    async def send(self, request: Request) -> Response:
        context = gateway_context(request)
        place = context.place = self._capacity.take(context.token_id or "", context.concurrency)
        try:
            reader, writer = await self._connected(context)
        except BaseException:  # cancelled too: its caller has left
            place.release()
            raise
        self._open.add(writer)
        upward = asyncio.ensure_future(_send(request.body, writer, context))
        body = Body(_pieces(reader, context), abort=writer.transport.abort)
        response = Response(200, Headers(), b"", request=request, stream=body)
        call = OpenCall(context, None)
        call.response = response
        self._calls.add(call)

        def ended(_: object) -> None:
            self._calls.discard(call)
            upward.cancel()
            writer.transport.abort()
            self._open.discard(writer)
            place.release()

        return response.on_end(ended)

    async def close(self) -> None:
        """End the tunnels that are open."""
        for writer in self._open:
            writer.transport.abort()
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        await self._resolver.close()

    async def _connected(self, context: GatewayContext) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        destination = context.destination
        if destination is None or destination.port != PORT:
            raise GatewayError(403, f"elsewhere than to its routes, tunnels lead to port {PORT} alone", _NOT_ALLOWED)
        try:
            found = await self._resolver.resolve(destination.host, PORT, socket.AF_UNSPEC)
        except DoubleOError:
            raise GatewayError(403, f"{destination.host} is at no public address", _NOT_ALLOWED) from None
        except OSError:
            raise GatewayError(502, f"{destination.host} has no address", "upstream connection") from None
        addresses = [each["host"] for each in found if (each["host"], PORT) != context.local]
        if not addresses:
            raise GatewayError(403, "a tunnel does not lead to the gateway itself", _NOT_ALLOWED)
        if self._audit is not None:
            self._audit.begin(context)
        for address in addresses:  # the very ones that were looked at
            with suppress(OSError, asyncio.TimeoutError):
                async with timeout(_CONNECT):  # `wait_for` would lose a connection that is made as it is cancelled
                    return await asyncio.open_connection(address, PORT, limit=_PIECE)
        raise GatewayError(502, f"{destination} cannot be connected to", "upstream connection")


async def _send(body: object, writer: asyncio.StreamWriter, context: GatewayContext) -> None:
    if not isinstance(body, Body):
        return
    with suppress(ConnectionError):
        async for piece in body:
            context.bytes_in += len(piece)
            writer.write(piece)
            await writer.drain()


async def _pieces(reader: asyncio.StreamReader, context: GatewayContext) -> AsyncIterator[bytes]:
    seen = -1
    while True:
        reading = asyncio.ensure_future(reader.read(_PIECE))
        try:
            while not (await asyncio.wait([reading], timeout=IDLE))[0]:
                if seen == context.bytes_in + context.bytes_out:
                    return
                seen = context.bytes_in + context.bytes_out
            piece = reading.result()
        except ConnectionError:
            return
        finally:
            reading.cancel()
        if not piece:
            return
        yield piece
