"""The transport to the upstreams of routes."""

from __future__ import annotations

from .._http.request import Request
from .._http.response import Response
from ..transports.proxy_env import Proxies
from ..transports.websocket import WebSocketTransport
from .context import gateway_context, of_route
from .egress import PublicResolver, check_literal

_SMALL = 64 << 10  # bytes: an answer up to that size comes whole, not as a stream
_CONNECTIONS = 4096  # as many as callers may have
_CONNECT = 10.0  # seconds until another upstream is asked


class UpstreamTransport:
    """Sends a proxied call: by one transport to public addresses alone, by another to any, as its route says."""

    def __init__(self) -> None:
        self._transports = {
            False: WebSocketTransport(
                resolver=PublicResolver(Proxies().places()),
                streamless=_SMALL,
                max_connections=_CONNECTIONS,
                connect_timeout=_CONNECT,
            ),
            True: WebSocketTransport(streamless=_SMALL, max_connections=_CONNECTIONS, connect_timeout=_CONNECT),
        }

    async def send(self, request: Request) -> Response:
        """The upstream's answer, whatever its status; DoubleOError if none came."""
        route = of_route(request)
        if not route.allow_private:
            check_literal(gateway_context(request).upstream or route.upstream)
        transport = self._transports[route.allow_private]
        return await (transport.upgrade if gateway_context(request).websocket else transport.send)(request)

    async def close(self) -> None:
        """Close the connections."""
        for transport in self._transports.values():
            await transport.close()
