"""What stands before the forward proxy's calls: whether a tunnel is opened, and what its caller has to trust."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from .._core.pipeline import Transport
from .._http.headers import Headers
from .._http.request import Request
from .._http.response import Response
from .answers import SERVER
from .context import gateway_context
from .destinations import hosts_of, tokens_of
from .errors import GatewayError, NoToken, Unauthorized
from .middleware.authorize import granted
from .models import Denial, Grant
from .reach import NoRoute, reach, routes_of
from .store.base import Store
from .token_places import AUTHORIZATION

if TYPE_CHECKING:
    from .leaves import Leaves


class Entrance:
    """Answers a CONNECT, and a request for the authority's certificates. Costs no use, and charges no rate.

    A tunnel to an upstream of a route is ended here, `context.tunnel` says with what. Any other goes `elsewhere`, where
    that is given. GatewayError (400, 403, 407), Unauthorized.
    """

    def __init__(self, store: Store, elsewhere: Transport | None = None) -> None:
        self._store = store
        self._elsewhere = elsewhere
        self._made: Leaves | None = None

    async def send(self, request: Request) -> Response:
        if gateway_context(request).endpoint == "authority":
            return await self._certificates(request)
        return await self._tunnel(request)

    async def close(self) -> None:
        """Close what was opened elsewhere."""
        if self._elsewhere is not None:
            await self._elsewhere.close()

    async def _tunnel(self, request: Request) -> Response:
        context = gateway_context(request)
        destination = context.destination
        if destination is None:
            raise GatewayError(400, "the target of a CONNECT is a host and a port", "bad request")
        try:
            reached = await reach(self._store, destination)
        except NoRoute as error:
            context.token, context.kind = error.token, "route"
            granted(context, error.grant)
            if self._elsewhere is None:
                raise
            return await self._elsewhere.send(request)
        context.token, context.kind = reached.token, "route"
        granted(context, reached.grant)
        context.target = reached.route.name
        leaves = await self._leaves()
        from .authority import current

        key = current(await self._store.authority(), time.time())
        context.tunnel = await leaves.context(key, destination.host)
        return Response(200, Headers(), b"", request=request)

    async def _certificates(self, request: Request) -> Response:
        """The certificates that the holder of some tokens has to trust, for the hosts of their routes."""
        context = gateway_context(request)
        if "Authorization" not in request.headers:
            raise NoToken(AUTHORIZATION)
        tokens = tokens_of(request.headers.get("Authorization", ""))
        hosts: list[str] = []
        denial: Denial | None = Denial("no token")
        for token in tokens:
            outcome = await self._store.opens(token, "route")
            if isinstance(outcome, Grant):
                context.kind = "route"
                granted(context, outcome)
                hosts += hosts_of(await routes_of(self._store, outcome))
                denial = None
            elif denial is not None:
                denial = outcome
        if denial is not None:
            raise Unauthorized(denial.why, denial.reason)
        await self._leaves()
        from .authority import ca_certificate, trusted

        now = time.time()
        keys = trusted(await self._store.authority(), now)
        pem = "".join(ca_certificate(key, list(dict.fromkeys(hosts)), now) for key in keys)
        headers = Headers([("Content-Type", "application/x-pem-file"), SERVER])
        return Response(200, headers, pem.encode(), request=request)

    async def _leaves(self) -> Leaves:
        """The certificates of hosts. What makes them is a tenth of a gateway's start, and so is imported for the first,
        off the event loop."""
        if self._made is None:
            made = await asyncio.to_thread(_make_leaves)
            if self._made is None:  # all certificates are of one key
                self._made = made
        return self._made


def _make_leaves() -> Leaves:
    from .leaves import Leaves

    return Leaves()
