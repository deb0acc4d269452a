"""What of a request is different where it comes by the forward proxy: its target says where it goes."""

from __future__ import annotations

from ..context import GatewayContext
from ..destinations import Destination, absolute_form, authority_of
from ..endpoints import PREFIX, endpoint_of, with_slash
from ..http_server import web
from .connect import proxy_tokens
from .request_target import origin_form

_MISDIRECTED = 421  # RFC 9110, 15.5.20


def own_target(received: web.BaseRequest, context: GatewayContext) -> str:
    """The target of a request as the chain reads it: what goes to an upstream of a route stands behind PREFIX.

    Notes in the context where it goes, and what is wrong with it.
    """
    target = received.raw_path
    if context.destination is not None:
        return PREFIX + _in_tunnel(received, context, context.destination)
    absolute = absolute_form(target)
    if "Proxy-Authorization" not in received.headers:
        own = origin_form(target)
        # Whoever shows no credential may take the gateway for a server: its own paths are answered.
        if absolute is None or endpoint_of(received.method, own.partition("?")[0]) != "other":
            return own
    if absolute is None:
        return target
    scheme, host, port, path = absolute
    if scheme != "http":
        context.malformed = "an https URL is asked for through a tunnel, by CONNECT"
    context.destination = Destination(scheme, host, port, proxy_tokens(received))
    return PREFIX + path[1:]


def is_proxied(target: str, context: GatewayContext) -> bool:
    """Whether a request leads to an upstream, of whose head no more than the target is known."""
    endpoint = endpoint_of("GET", with_slash(origin_form(target)).partition("?")[0])
    is_foreign = endpoint == "other" and absolute_form(target) is not None
    return endpoint == "proxy" or is_foreign or context.destination is not None


def _in_tunnel(received: web.BaseRequest, context: GatewayContext, destination: Destination) -> str:
    """What follows PREFIX for a request within a tunnel, all of whose requests are for one host."""
    target, named = received.raw_path, received.headers.get("Host")
    absolute = absolute_form(target)
    if absolute is not None:
        is_there = absolute[:3] == destination[:3]
        target = absolute[3]
    else:
        is_there = named is None or authority_of(named, destination.port) == destination[1:3]
    if not is_there:
        context.malformed = "this tunnel is for another host"
        context.malformed_status = _MISDIRECTED
    elif not target.startswith("/"):
        context.malformed = "the target of the request is no path"
    return target.removeprefix("/")
