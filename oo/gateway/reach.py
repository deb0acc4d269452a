"""Which route a call of the forward proxy goes by: the first of its tokens' that has the host and port it names."""

from __future__ import annotations

from typing import NamedTuple

from .._http.request import Request
from .context import gateway_context
from .destinations import Destination, base_in, upstream_at
from .endpoints import PREFIX
from .errors import GatewayError, Unauthorized
from .models import Denial, Grant, Route, Upstream
from .store.base import Store

CHALLENGE = {"Proxy-Authenticate": 'Basic realm="Double-O"'}


class Reached(NamedTuple):
    """The route of a call, the upstream of it that the caller has named, and the token that opens it."""

    token: str
    grant: Grant
    route: Route
    upstream: Upstream

    def __repr__(self) -> str:
        return f"Reached({self.route.name})"  # a token is never shown


class NoRoute(GatewayError):
    """No route of these tokens goes there. `grant` is what the first of them opens."""

    def __init__(self, destination: Destination, token: str, grant: Grant) -> None:
        super().__init__(403, f"no route of this token goes to {destination.scheme}://{destination}", "not allowed")
        self.token = token
        self.grant = grant


async def reach(store: Store, destination: Destination) -> Reached:
    """The first that fits. NoRoute; GatewayError (407) without a token that is known, Unauthorized where those that are
    open nothing."""
    denial = Denial("no token")
    first: tuple[str, Grant] | None = None
    for token in destination.tokens:
        outcome = await store.opens(token, "route")
        if isinstance(outcome, Denial):
            denial = denial if denial.reason else outcome
            continue
        first = first or (token, outcome)
        for name in await _names(store, outcome):
            route = await store.route(name)
            upstream = None if route is None else upstream_at(route, destination)
            if route is not None and upstream is not None:
                return Reached(token, outcome, route, upstream)
    if first is not None:
        raise NoRoute(destination, *first)
    if denial.reason or destination.tunnelled:
        raise Unauthorized(denial.why, denial.reason)
    said = "is no token that is known here" if destination.tokens else "(Proxy-Authorization) is to be a token"
    raise GatewayError(407, f"the proxy's password {said}", denial.why, CHALLENGE)


async def routes_of(store: Store, grant: Grant) -> list[Route]:
    """The routes that a token opens, in order."""
    found = [await store.route(name) for name in await _names(store, grant)]
    return [route for route in found if route is not None]


async def _names(store: Store, grant: Grant) -> tuple[str, ...]:
    return await store.bundle(grant.name) or () if grant.kind == "bundle" else (grant.name,)


def inside(request: Request, upstream: Upstream) -> Request:
    """A call whose path is the upstream's own, as one behind PREFIX. GatewayError (403) where the path is not below the
    upstream's."""
    context = gateway_context(request)
    path = f"/{request.url.removeprefix(PREFIX)}"
    base = base_in(upstream, path)
    if base is None:
        raise GatewayError(403, "the route of this token does not go to that path", "not allowed")
    context.prefix = base if base.endswith("/") else f"{base}/"
    url = PREFIX + path[len(base) :]
    if url == request.url:
        return request
    context.path = url.partition("?")[0]
    return request.replace(url=url)
