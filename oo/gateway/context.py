"""What the steps of one call share in the gateway."""

from __future__ import annotations

from .._http.context import Context
from .._http.request import Request
from .models import Route


class GatewayContext(Context):
    """A call's context in the gateway.

    Attributes:
        peer: the address of the caller, where it is known.
        endpoint: what was asked for: "secret", "env", "proxy", "health" or "other".
        token_id: the id of the caller's token, once it is known.
        target: the name of what the token opened.
        route: the route of a proxied call.
        hidden: the secrets that went upstream, which must not come back; None outside of MaskResponse.
        outcome: the word for the audit.
    """

    peer: str | None = None
    endpoint: str = "other"
    token_id: str | None = None
    target: str | None = None
    route: Route | None = None
    hidden: set[str] | None = None
    outcome: str = "failed"


def gateway_context(request: Request) -> GatewayContext:
    """The context of a call in the gateway; TypeError for a client's."""
    if not isinstance(request.context, GatewayContext):
        raise TypeError("this middleware runs in a gateway alone")
    return request.context


def of_route(request: Request) -> Route:
    """The route of a proxied call; TypeError for another."""
    route = gateway_context(request).route
    if route is None:
        raise TypeError("this call has no route")
    return route


def passes_encoding(request: Request) -> bool:
    """Whether the answer's body is passed on in the coding it comes in: nothing is injected, so nothing is masked."""
    return not of_route(request).inject and not gateway_context(request).hidden
