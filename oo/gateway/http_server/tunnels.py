"""Takes a connection over for a tunnel: from the CONNECT's answer on it carries TLS, and within that HTTP."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any

from . import web
from ._aiohttp_patches import released
from ._sslproto_patches import can_be_aborted
from .server import Connection

ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"
"""The answer to a CONNECT (RFC 9110, 9.3.6): no length, and no body."""

_NOBODY = asyncio.Protocol()


class Taken(web.StreamResponse):
    """The answer to a request whose connection is no longer its own: nothing is sent."""

    def __init__(self) -> None:
        super().__init__()
        self.force_close()

    async def prepare(self, _request: web.BaseRequest) -> None:
        """Send nothing."""

    async def write_eof(self, _data: bytes = b"") -> None:
        """Send nothing."""


Watch = Callable[[Callable[[], object]], Callable[[], object]]
"""Is given what ends a tunnel, and gives what is called when it has ended."""


def take_over(request: web.BaseRequest, context: ssl.SSLContext, tunnel: object, watch: Watch) -> Taken:
    """Answer a CONNECT, and serve what comes within TLS from then on as requests of a connection in that `tunnel`.
    ConnectionResetError if the caller has left."""
    outer = request.protocol
    if not isinstance(outer, Connection) or outer.transport is None or outer.transport.is_closing():
        raise ConnectionResetError
    server, transport = outer.server, outer.taken()
    inner = Connection(server, server.refuse)
    inner.tunnel = tunnel
    inner.carrier = transport
    # Not a turn of the loop from here on: whatever comes is for the new protocol.
    released(outer)
    server.exchange(outer, inner)
    transport.set_write_buffer_limits()
    can_be_aborted(transport)
    tls = server.encrypted(inner, context, watch(inner.leave))
    transport.write(ESTABLISHED)
    transport.set_protocol(_NOBODY)  # uvloop keeps what takes data from the last that is no BufferedProtocol
    transport.set_protocol(tls)
    tls.connection_made(transport)
    return Taken()


def tunnel_of(request: web.BaseRequest) -> Any:
    """The tunnel that a request came in; None outside of any."""
    connection = request.protocol
    return connection.tunnel if isinstance(connection, Connection) else None
