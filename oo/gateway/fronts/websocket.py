"""The caller's end of a WebSocket."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, suppress
from functools import partial

from ..._http.message import Message
from ..._http.response import Response
from ...exceptions import DoubleOError
from ...transports.websocket import HEARTBEAT, MAX_MESSAGE, messages, send_message
from ..context import GatewayContext
from ..http_server import web
from .wire import answer_headers

_POLICY = 1008  # the code of a call that may go on no longer (RFC 6455, 7.4.1)
_BAD_GATEWAY = 1014  # the code where the upstream broke off (IANA's registry)
_KEY = 16  # bytes of a handshake's key
_GRACE = 0.3  # seconds
_PREFIX = "sec-websocket-"


def asks_for_websocket(request: web.BaseRequest) -> bool:
    """Whether a request is the opening handshake of a WebSocket (RFC 6455, 4.2.1)."""
    headers = request.headers
    if "Sec-WebSocket-Key" not in headers or request.method != "GET":
        return False
    options = ",".join(headers.getall("Connection", ())).lower().split(",")
    return headers.get("Upgrade", "").lower() == "websocket" and "upgrade" in [option.strip() for option in options]


def is_acceptable(request: web.BaseRequest) -> bool:
    """Whether the handshake of a WebSocket is one of version 13, the only one there is (RFC 6455, 4.2.1)."""
    try:
        key = base64.b64decode(request.headers.get("Sec-WebSocket-Key", ""), validate=True)
    except ValueError:
        return False
    return len(key) == _KEY and request.headers.get("Sec-WebSocket-Version") == "13"


def _without_protocols(request: web.BaseRequest) -> web.BaseRequest:
    headers = request.headers.copy()
    headers.popall("Sec-WebSocket-Protocol", None)
    return request.clone(headers=headers)


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
            # Offers of which the upstream took none are left out: aiohttp would log them, and some hold a token.
            await socket.prepare(self._request if chosen else _without_protocols(self._request))
            self._context.hang_up = partial(self._end, socket, self._context.hang_up)
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

    def _end(self, socket: web.WebSocketResponse, hang_up: Callable[[], object] | None) -> None:
        """End a call from outside: say so to its caller, and hang up on one who does not listen."""

        async def end() -> None:
            with suppress(ConnectionError, asyncio.TimeoutError):
                await asyncio.wait_for(socket.close(code=_POLICY), _GRACE)
            if hang_up is not None:
                hang_up()

        self._ending = asyncio.ensure_future(end())
