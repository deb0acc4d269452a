"""The transport to the upstreams of routes."""

from __future__ import annotations

import ssl
from typing import Any

from .._http.request import Request
from .._http.response import Response
from ..transports.proxy_env import Proxies
from ..transports.trust import Trust
from ..transports.websocket import WebSocketTransport
from .context import gateway_context, of_route
from .egress import PublicResolver, check_literal
from .store.base import Store
from .upstream_tls import UpstreamTLS

_SMALL = 64 << 10  # bytes: an answer up to that size comes whole, not as a stream
_CONNECTIONS = 4096  # as many as callers may have
_CONNECT = 10.0  # seconds until another upstream is asked


class UpstreamTransport:
    """Sends a proxied call: by one transport to public addresses alone, by another to any, as its route says."""

    def __init__(self, store: Store) -> None:
        self._tls = UpstreamTLS(store)
        settings: dict[str, Any] = {
            "streamless": _SMALL,
            "max_connections": _CONNECTIONS,
            "connect_timeout": _CONNECT,
        }
        self._transports = {
            False: _RouteTransport(resolver=PublicResolver(Proxies().places()), **settings),
            True: _RouteTransport(**settings),
        }

    async def send(self, request: Request) -> Response:
        """The upstream's answer, whatever its status; DoubleOError if none came."""
        route = of_route(request)
        if not route.allow_private:
            check_literal(request.base_url)
        if route.ca is not None or route.cert is not None:
            gateway_context(request).tls = await self._tls.context(route)
        transport = self._transports[route.allow_private]
        return await (transport.upgrade if gateway_context(request).websocket else transport.send)(request)

    async def close(self) -> None:
        """Close the connections."""
        for transport in self._transports.values():
            await transport.close()


class _RouteTransport(WebSocketTransport):
    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._trust = _RouteTrust()


class _RouteTrust(Trust):
    """The context of a call, where its route has its own."""

    def of(self, request: Request) -> ssl.SSLContext:
        return gateway_context(request).tls or self.context
