"""What would mend a call that the gateway refuses, for who keeps the gateway. Pure."""

from __future__ import annotations

import shlex

from .._http.request import Request
from ..exceptions import DoubleOError
from .context import gateway_context
from .endpoints import PREFIX
from .errors import GatewayError
from .models import Route, Token

_PLACES = {
    "secret": "ask for 'GET /api/secret'",
    "env": "ask for 'GET /api/env'",
    "route": "ask for a path of its API, such as 'GET /v1/models'",
    "bundle": "ask for a whole URL, such as 'GET https://api.github.com/user', as `oo run --proxied` has programs do",
}
_MENDS = {
    "no token": "give a token: `oo token issue` makes one",
    "malformed": "give it whole: `oo_` and 49 characters",
    "unknown": "is OO_HOME that of the vault which issued it? `oo token issue` makes another",
    "bad path": "write the path as the API has it, without '.' or '..' segments and without '#'",
    "no such place": "ask for /api/secret, /api/env, /health, or a path of the route's API",
}


def advice(error: DoubleOError | GatewayError, request: Request, token: Token | None) -> str:
    """What would mend it; "" where nothing is known. `token` are the terms of the caller's, if there is such a one."""
    route = gateway_context(request).route
    if isinstance(error, DoubleOError):
        return "" if route is None else _of_credentials(route)
    why = error.outcome
    if why in _MENDS:
        return _MENDS[why]
    if why in ("unknown kind", "bad route") and route is not None:
        return _of_kinds(why, route)
    if why == "rate":
        return f"wait {error.headers['Retry-After']} s, or `oo token issue` one of a higher --rate"
    if why == "not allowed":
        return "`oo route list` shows where routes go" if route is None else _of_allow(error, request, route)
    if token is None:
        return ""
    if why == "wrong kind":
        return f"{_PLACES[token.kind]}: it opens the {token.kind} {token.name}"
    if why == "gone":
        return f"`oo {token.kind} set {token.name}` keeps it again"
    if why in ("revoked", "expired", "used up"):
        return f"`oo token issue --{token.kind} {token.name}` makes another"
    return ""


def _of_allow(error: GatewayError, request: Request, route: Route) -> str:
    if "Allow" in error.headers:
        return f"use one of {error.headers['Allow']}"
    asked = f"{request.method} /{request.url[len(PREFIX) :].partition('?')[0]}"
    patterns = " ".join(f"--allow {shlex.quote(pattern)}" for pattern in (*route.allow, asked))
    return f"`oo route update {route.name} {patterns}` allows it"


def _of_kinds(why: str, route: Route) -> str:
    if why == "bad route":
        return f"`oo route update {route.name}` sets other credentials"
    return "name the plugin that adds it: `oo explain --plugins NAME` here, `oo serve --plugins NAME` there"


def _of_credentials(route: Route) -> str:
    names = ", ".join(sorted(route.secrets))
    said = f"`oo secret list` shows whether {names} is there; " if names else ""
    return f"{said}`oo route list` shows the route {route.name}"
