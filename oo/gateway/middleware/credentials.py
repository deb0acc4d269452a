"""Puts a route's credentials, with the real secrets in them, into the request."""

from __future__ import annotations

from collections.abc import Mapping

from ..._core.pipeline import CallNext
from ..._http.body import is_sendable
from ..._http.request import Request
from ..._http.response import Response
from ...exceptions import DoubleOError
from ..context import gateway_context
from ..credentials.combined import Credentials
from ..credentials.registry import Registry
from ..errors import GatewayError, StoreError, UnknownKind
from ..models import Route
from .call_tools import CallTools, Workshop


class ApplyCredentials:
    """Applies the credentials of a route to its requests.

    Where the upstream answers 401 and something was fetched for the request, it is fetched anew and the request sent
    once more, if its body can be. DoubleOError if a secret is missing, a value can't be sent or nothing could be
    fetched; GatewayError for a kind that is not known. MaskResponse must enclose it, so that no secret comes back;
    without one nothing is sent (RuntimeError).
    """

    def __init__(self, shop: Workshop, kinds: Registry) -> None:
        self._shop = shop
        self._kinds = kinds

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        route = gateway_context(request).route
        if route is None or not route.texts:
            return await call_next(request)
        credentials = credentials_of(route, self._kinds)
        values = await self._values(credentials)
        tools = CallTools(request, self._shop, call_next.io)
        try:
            sent = await _applied(credentials, request, values, tools)
        except DoubleOError:
            # Another process may have renewed meanwhile what this one found used up.
            fresh = await self._values(credentials)
            if fresh == values:
                raise
            values = fresh
            sent = await _applied(credentials, request, values, tools)
        response = await call_next(sent)
        if response.status != 401 or not credentials.refused(sent, values, tools) or not is_sendable(request.body):
            return response
        response.abort()
        return await call_next(await _applied(credentials, request, await self._values(credentials), tools))

    async def _values(self, credentials: Credentials) -> Mapping[str, str]:
        values = {}
        for name in credentials.secrets:
            value = await self._shop.store.secret(name)
            if value is None:
                raise DoubleOError("a secret that it injects is missing", reason="argument")
            values[name] = value
        return values


def credentials_of(route: Route, kinds: Registry) -> Credentials:
    """What a route puts into its requests. GatewayError where its texts cannot be read, by a gateway that has not
    loaded the plugin of their kind say."""
    try:
        return kinds.of(route.texts)
    except UnknownKind as error:
        kind = f"the kind {error.kind!r}" if error.kind else "a kind"
        what = f"the route {route.name} has credentials of {kind} that this gateway does not know"
        mend = "`oo serve --plugins NAME` loads the plugin that adds it"
        failure = GatewayError(500, f"{what}: {mend}", "unknown kind")
    except StoreError as error:
        failure = GatewayError(500, f"the credentials of the route {route.name} cannot be used: {error}", "bad route")
    try:
        raise failure
    finally:
        del failure  # as ErrorMapping does


async def _applied(credentials: Credentials, request: Request, values: Mapping[str, str], tools: CallTools) -> Request:
    if not gateway_context(request).websocket:
        return await credentials.apply(request, values, tools)
    # Its messages come once it is open: what is signed is the handshake, which has no body.
    return (await credentials.apply(request.replace(body=None), values, tools)).replace(body=request.body)
