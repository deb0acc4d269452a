"""The caller's end of a WebSocket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress

from aiohttp import web

from ..._http.message import Message
from ..._http.response import Response
from ...exceptions import DoubleOError
from ...transports.websocket import HEARTBEAT, MAX_MESSAGE, messages, send_message
from ..context import GatewayContext
from .wire import answer_headers

_POLICY = 1008  # the code of a call that may go on no longer (RFC 6455, 7.4.1)
_BAD_GATEWAY = 1014  # the code where the upstream broke off (IANA's registry)
_PREFIX = "sec-websocket-"


def asks_for_websocket(request: web.BaseRequest) -> bool:
    """Whether a request is the opening handshake of a WebSocket (RFC 6455, 4.2.1)."""
    headers = request.headers
    if "Sec-WebSocket-Key" not in headers or request.method != "GET":
        return False
    options = ",".join(headers.getall("Connection", ())).lower().split(",")
    return headers.get("Upgrade", "").lower() == "websocket" and "upgrade" in [option.strip() for option in options]


class CallerSocket:
    """The WebSocket of a caller, which is opened once the upstream's is."""

    def __init__(self, request: web.BaseRequest, context: GatewayContext) -> None:
        self._request = request
        self._context = context
        self._opened: asyncio.Future[web.WebSocketResponse] = asyncio.get_running_loop().create_future()

    async def messages(self) -> AsyncIterator[Message]:
        """What the caller sends, once the WebSocket is open."""
        async for message in messages(await self._opened):
            self._context.bytes_in += len(message)
            yield message

    async def relay(self, response: Response) -> web.StreamResponse:
        """Open the caller's end, and send the upstream's messages until either end closes."""
        chosen = response.headers.get_all(_PREFIX + "protocol")
        socket = web.WebSocketResponse(protocols=chosen, heartbeat=HEARTBEAT, max_msg_size=MAX_MESSAGE, compress=False)
        for name, value in answer_headers(response).items():
            if not name.lower().startswith(_PREFIX):
                socket.headers.add(name, value)
        stream = response.stream
        try:
            await socket.prepare(self._request)
            self._opened.set_result(socket)
            code = _POLICY
            if stream is not None:
                async with aclosing(stream) as pieces:
                    async for message in pieces:
                        self._context.bytes_out += len(message)
                        await send_message(socket, message)
        except DoubleOError:
            code = _BAD_GATEWAY
        finally:
            response.abort()
            self._opened.cancel()
        with suppress(ConnectionError):
            await socket.close(code=code)  # does nothing where it is closed
        return socket
