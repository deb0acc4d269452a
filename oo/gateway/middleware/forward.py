"""Turns a caller's request into the upstream's, and the upstream's response into the caller's."""

from __future__ import annotations

from ..._core.pipeline import CallNext
from ..._http.body import read_whole
from ..._http.headers import Headers
from ..._http.request import Request
from ..._http.response import Response
from ...exceptions import DoubleOError
from ..context import gateway_context
from ..errors import UpstreamFailed
from ..headers import caller_headers, upstream_request
from .allow import PREFIX


class Forward:
    """Gives a proxied call the upstream's URL and the headers that pass, and its answer those that pass back.

    The body is read whole before anything is sent. UpstreamFailed where no answer comes.
    """

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        context = gateway_context(request)
        route = context.route
        if route is None:
            return await call_next(request)
        body = request.body if context.websocket else await read_whole(request.body)
        path, pairs = request.url[len(PREFIX) :], request.headers.pairs()
        if "X-Request-Id" not in request.headers:  # a caller's own is the one that its logs have
            pairs = (*pairs, ("X-Request-Id", context.id))
        try:
            response = await call_next(upstream_request(route, request.method, path, pairs, body, context))
        except DoubleOError as error:
            raise UpstreamFailed(f"the upstream of route {route.name} failed", error) from None
        return response.replace(headers=Headers(caller_headers(response)))
