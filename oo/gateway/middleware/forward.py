"""Turns a caller's request into the upstream's, and the upstream's response into the caller's."""

from __future__ import annotations

from ..._core.pipeline import CallNext
from ..._http.body import Body
from ..._http.headers import Headers
from ..._http.request import Request
from ..._http.response import Response
from ...exceptions import DoubleOError
from ..context import gateway_context
from ..endpoints import PREFIX
from ..errors import GatewayError, UpstreamFailed
from ..headers import OWN_ID, caller_headers, upstream_request


class Forward:
    """Gives a proxied call the upstream's URL and the headers that pass, and its answer those that pass back.

    The body goes as it comes, with a length where it is known; in one piece where it is here already. UpstreamFailed
    where no answer comes; the GatewayError that broke the body off.
    """

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        context = gateway_context(request)
        route = context.route
        if route is None:
            return await call_next(request)
        body = request.body
        if isinstance(body, Body) and (here := body.here()) is not None:
            body = here
        path, pairs = request.url[len(PREFIX) :], request.headers.pairs()
        has_id = "X-Request-Id" in request.headers  # the caller's own, which its logs have
        if not has_id:
            pairs = (*pairs, ("X-Request-Id", context.id))
        sent = upstream_request(route, request.method, path, pairs, body, context)
        if has_id:
            sent = sent.with_header(OWN_ID, context.id)
        try:
            response = await call_next(sent)
        except DoubleOError as error:
            if isinstance(error.__cause__, GatewayError):
                raise error.__cause__ from None
            raise UpstreamFailed(f"the upstream of route {route.name} failed", error) from None
        return response.replace(headers=Headers(caller_headers(response)))
