"""Refuses what the route of a call does not allow."""

from __future__ import annotations

from ..._core.pipeline import CallNext
from ..._http.request import Request
from ..._http.response import Response
from ..._http.urls import proxied
from ..context import gateway_context
from ..endpoints import PREFIX
from ..errors import GatewayError
from ..models import Route

# TRACE echoes the injected headers, CONNECT opens a tunnel.
_NEVER = {"CONNECT", "TRACE", "TRACK"}
USUAL = "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"
"""The methods that are passed on."""


class Allow:
    """Lets a proxied call pass whose method and path its route allows, its path written in one way.

    Any other call passes as it is. GatewayError: 400, 403, 405 or 501. Costs no use.
    """

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        context = gateway_context(request)
        route = context.route
        if route is None:
            return await call_next(request)
        try:
            path = proxied(request.url[len(PREFIX) :])
        except ValueError as error:
            raise GatewayError(400, str(error), "bad path") from None
        method = request.method
        if method in _NEVER or not method.isalpha() or not method.isupper():
            raise GatewayError(405, "that method is not passed on", "not allowed", {"Allow": USUAL})
        if not route.allows(method, path.partition("?")[0]):
            raise GatewayError(403, "the route of this token does not allow that method and path", "not allowed")
        if context.websocket and not route.websocket:
            raise GatewayError(
                501, "the route of this token passes no WebSocket on (`oo route update --websocket`)", "not allowed"
            )
        if context.websocket and not _may_open(request, route):
            raise GatewayError(403, "the route of this token opens no WebSocket for that origin", "not allowed")
        url = PREFIX + path
        return await call_next(request if url == request.url else request.replace(url=url))


def _may_open(request: Request, route: Route) -> bool:
    # Browsers ask no permission for a WebSocket: its server has to look at the Origin (RFC 6455, 10.2).
    origin = request.headers.get("Origin")
    return origin is None or not route.cors or "*" in route.cors or origin in route.cors
