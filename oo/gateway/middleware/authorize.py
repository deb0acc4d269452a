"""Looks what a caller's token opens, and charges the call to its rate."""

from __future__ import annotations

import math

from ..._core.pipeline import CallNext
from ..._http.request import Request
from ..._http.response import Response
from ..context import GatewayContext, gateway_context
from ..errors import GatewayError, NoToken, Unauthorized
from ..models import Denial, Grant, Kind
from ..reach import Reached, inside, reach
from ..store.base import Store
from ..token_places import AUTHORIZATION, SDKS, take_token
from .idempotency_key import idempotency_key

_KINDS: dict[str, Kind] = {"secret": "secret", "env": "env", "proxy": "route"}

_NOWHERE = "there is nothing here: an API is called under /api/proxy/, with its own path behind that"


class Authorize:
    """Lets a call pass, without its token, which opens what was asked for, has a use left and comes within its rate.

    The health of the gateway is for everybody. A keyed call may need no use, which Idempotency finds out. Unauthorized;
    GatewayError for a place that is not there, a key that is none, a rate.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        context = gateway_context(request)
        if context.endpoint == "health":
            return await call_next(request)
        if context.endpoint not in _KINDS:
            raise GatewayError(404, _NOWHERE, "no such place")
        context.kind = kind = _KINDS[context.endpoint]
        # A token in a URL ends in logs on its way, so that place is for SDKs that have no other.
        context.token, request = take_token(request, in_query=kind == "route")
        reached: Reached | None = None
        if context.destination is not None:  # whose own tokens count alone
            reached = await reach(self._store, context.destination)
            context.token, request = reached.token, inside(request, reached.upstream)
        if not context.token:
            raise NoToken(SDKS if kind == "route" else AUTHORIZATION)
        if kind == "route" and not context.websocket:
            context.key = idempotency_key(request)
        outcome = await self._store.authorize(context.token, kind, key=context.key)
        if isinstance(outcome, Grant) and outcome.kind == "bundle" and reached is None:
            outcome = Denial("wrong kind", outcome.token_id, opens="bundle", label=outcome.label)
        grant = granted(context, outcome)
        context.paid = not grant.counted
        if kind == "route":
            context.route = await self._store.route(grant.name) if reached is None else reached.route
            if context.route is None:
                raise Unauthorized("gone")
            context.target = context.route.name
        return await call_next(request)


def granted(context: GatewayContext, outcome: Grant | Denial) -> Grant:
    """What the token opens, noted for the audit; the answer to a Denial is raised."""
    context.token_id, context.label = outcome.token_id, outcome.label
    if isinstance(outcome, Grant):
        context.target, context.concurrency = outcome.name, outcome.concurrency
        return outcome
    context.target = outcome.target
    if outcome.retry_after is None:
        raise Unauthorized(outcome.why, outcome.reason)
    wait = str(math.ceil(outcome.retry_after))  # RFC 9110, 10.2.3: whole seconds
    raise GatewayError(429, f"this token is used too often: again in {wait} s", outcome.why, {"Retry-After": wait})
