"""Lets programs of browsers call, from the origins that a route names (CORS: https://fetch.spec.whatwg.org/)."""

from __future__ import annotations

import re
from collections.abc import Container

from ..._core.errors import SOURCE
from ..._core.pipeline import CallNext
from ..._http.headers import Headers
from ..._http.request import Request
from ..._http.response import Response
from ..answers import SERVER
from ..context import gateway_context
from ..errors import StoreError
from ..store.base import Store
from .allow import USUAL

_ANY = "*"
_AGE = "600"  # seconds that a browser keeps what a preflight said
_CREDENTIALS = frozenset({"authorization", "x-api-key", "api-key", "x-goog-api-key", "private-token"})
_NAMES = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z, -]{0,8192}")
_METHOD, _HEADERS = "Access-Control-Request-Method", "Access-Control-Request-Headers"
_FRESH = 1.0  # seconds for which the origins of all routes are kept: nobody needs a token to have them read


class Cors:
    """Answers a preflight from an origin that any route names: it has no token, so nobody knows yet which route is
    meant. Marks the answers of a route for the origins that it names, and refusals as well, for the program to read.

    A route that names origins decides alone: what its upstream says of them is dropped. No answer ever allows
    credentials of the browser's own, its cookies and the like.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._origins: frozenset[str] = frozenset()
        self._fresh_until = float("-inf")

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        context = gateway_context(request)
        if context.endpoint != "proxy":
            return await call_next(request)
        origin, now = _origin(request), call_next.io.now()
        if origin is not None and request.method == "OPTIONS" and _is_preflight(request):
            allowed = _allowed(origin, await self._all(now))
            if allowed is not None:
                context.outcome = "preflight"
                return _preflight(request, allowed)
        response = await call_next(request)
        named: Container[str] = ()
        if context.route is not None:
            named = context.route.cors
        elif origin is not None:  # it was refused before its route was known
            named = await self._all(now)
        return response.replace(headers=_marked(response.headers, origin, named)) if named else response

    async def _all(self, now: float) -> frozenset[str]:
        """The origins that any route names; none where they cannot be read, so that the call has its own answer."""
        if now >= self._fresh_until:
            try:
                self._origins, self._fresh_until = await self._store.cors(), now + _FRESH
            except StoreError:
                return frozenset()
        return self._origins


def _origin(request: Request) -> str | None:
    found = [value for name, value in request.headers.pairs() if len(name) == 6 and name.lower() == "origin"]
    return found[0] if len(found) == 1 else None


def _is_preflight(request: Request) -> bool:
    names = frozenset(request.headers)
    return _METHOD.lower() in names and not names & _CREDENTIALS


def _allowed(origin: str, named: Container[str]) -> str | None:
    """What Access-Control-Allow-Origin says to that origin, or None."""
    return origin if origin in named else _ANY if _ANY in named else None


def _preflight(request: Request, allowed: str) -> Response:
    asked = ", ".join(request.headers.get_all(_HEADERS))
    pairs = [
        ("Access-Control-Allow-Origin", allowed),
        ("Access-Control-Allow-Methods", USUAL),
        ("Access-Control-Max-Age", _AGE),
        ("Vary", f"Origin, {_METHOD}, {_HEADERS}"),
        SERVER,
        (SOURCE, "gateway"),
    ]
    # By name, since "*" does not stand for Authorization.
    if asked and _NAMES.fullmatch(asked):
        pairs.append(("Access-Control-Allow-Headers", asked))
    return Response(204, Headers(pairs), request=request)


def _marked(headers: Headers, origin: str | None, named: Container[str]) -> Headers:
    pairs = [pair for pair in headers.pairs() if not pair[0].lower().startswith("access-control-")]
    pairs.append(("Vary", "Origin"))
    if origin is not None and (allowed := _allowed(origin, named)) is not None:
        pairs += [("Access-Control-Allow-Origin", allowed), ("Access-Control-Expose-Headers", _ANY)]
    return Headers(pairs)
