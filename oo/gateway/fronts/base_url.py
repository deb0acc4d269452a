"""The base-URL front: turns HTTP into a Request, and a Response into HTTP. What is decided stands in the chain."""

from __future__ import annotations

import time
from typing import cast

from aiohttp import HttpVersion11

from ..._http.body import Body
from ..._http.headers import Headers
from ..._http.request import Request
from ...exceptions import Operation
from ..context import GatewayContext
from ..endpoints import PREFIX, endpoint_of, with_slash
from ..errors import CALLER_LEFT
from ..http_server import web
from ..http_server._aiohttp_patches import connection_of, has_begun, last_request, refused_target
from ..http_server.head_size import HEAD_TOO_LARGE, MAX_HEAD, MAX_URL, UNKNOWN_METHOD, URL_TOO_LONG
from ..http_server.tunnels import tunnel_of
from ..middleware.error_responses import failure_response
from ..stack import Stack
from ..store.base import came
from .body_reader import CallerBody
from .connect import connect
from .forward_proxy import is_proxied, own_target
from .websocket import CallerSocket, asks_for_websocket, is_acceptable
from .wire import relay, whole_answer

_MALFORMED = {
    400: "the request is not valid HTTP",
    URL_TOO_LONG: f"the request's URL has more than {MAX_URL} bytes",
    UNKNOWN_METHOD: "the request's method is none that is known: is it mistyped?",
    HEAD_TOO_LARGE: f"the request's head has more than {MAX_HEAD} bytes",
}


class Front:
    """Answers the gateway's requests. The HTTP server calls `handle`, and `refuse` for what is no HTTP."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack

    async def handle(self, received: web.BaseRequest) -> web.StreamResponse:
        """Answer one request. Every answer has an `X-OO-Request-Id`, and an `X-Request-Id`."""
        context = _context(received)
        if received.method == "CONNECT":
            return await self._connect(received, context)
        caller = CallerSocket(received, context) if asks_for_websocket(received) else None
        request = _request(received, context, caller)
        try:
            if context.malformed is None:
                response = await self._stack.handle(request)
                if context.is_last:
                    last_request(received)
                if response.status == 101 and caller is not None:
                    return await caller.relay(response)
                return await relay(received, response)
            return whole_answer(self._stack.refuse(request))
        except ConnectionError:
            # This is the caller's connection; a failure of the upstream's is a DoubleOError.
            return web.Response(status=CALLER_LEFT)
        except Exception as error:
            if has_begun(received) and received.transport is not None:
                received.transport.abort()  # half an answer must not look whole
            return whole_answer(failure_response(request, error))
        finally:
            context.end()

    async def _connect(self, received: web.BaseRequest, context: GatewayContext) -> web.StreamResponse:
        try:
            return await connect(self._stack, received, context)
        except ConnectionError:
            return web.Response(status=CALLER_LEFT)

    def refuse(self, received: web.BaseRequest, status: int = 400) -> web.StreamResponse:
        """Answer what is not HTTP, or too large a head of it."""
        context = _context(received)
        context.malformed, context.endpoint = _MALFORMED.get(status, _MALFORMED[400]), "other"
        context.malformed_status = status if status in _MALFORMED else 400
        # The target itself may hold a token.
        url = PREFIX if is_proxied(refused_target(received), context) else ""
        return whole_answer(self._stack.refuse(Request(received.method, url, context=context)))


def _context(received: web.BaseRequest) -> GatewayContext:
    context = GatewayContext()
    context.started = time.monotonic()
    came.set(context.started)
    context.peer = received.remote
    context.caller = connection_of(received)
    context.destination = tunnel_of(received)
    if received.transport is not None:
        context.hang_up = received.transport.abort
        if received.transport.get_extra_info("sslcontext") is not None:
            context.scheme = "https"
    return context


def _request(received: web.BaseRequest, context: GatewayContext, caller: CallerSocket | None) -> Request:
    target = with_slash(own_target(received, context))
    context.endpoint = endpoint = endpoint_of(received.method, target.partition("?")[0])
    if endpoint not in ("other", "authority"):
        context.operation = cast("Operation", endpoint)
    hosts = len(received.headers.getall("Host", ()))
    if hosts != 1 and (hosts or received.version >= HttpVersion11):  # RFC 9112, 3.2
        context.malformed, context.endpoint = "the request needs one Host", "other"
    body: Body | None = None
    if caller is not None and endpoint == "proxy":
        if not is_acceptable(received):
            context.malformed, context.endpoint = "the WebSocket's handshake is not that of RFC 6455", "other"
        context.websocket, body = True, Body(caller.messages())
    elif received.body_exists:
        body = CallerBody(received, context)
    headers = Headers(tuple(received.headers.items()))
    return Request(received.method, target, headers, body, stream_response=True, context=context)
