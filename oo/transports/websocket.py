"""WebSockets over aiohttp (RFC 6455): messages of either side, and the transport that opens one."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Protocol

import aiohttp
from aiohttp import WSMsgType
from yarl import URL

if sys.version_info >= (3, 11):
    from asyncio import timeout
else:
    from async_timeout import timeout

from .._http.body import Body
from .._http.headers import Headers
from .._http.message import Message
from .._http.request import Request, limits
from .._http.response import Response
from ..exceptions import DoubleOError
from ._aiohttp_patches import abort_socket, check_tunnel, session_over
from .aiohttp import AiohttpTransport, Source, fields_of, url_of
from .aiohttp_errors import ERRORS, UNCONNECTED, translated
from .network_errors import on_the_way

MAX_MESSAGE = 16 << 20
"""Bytes that a message may hold."""
HEARTBEAT = 30.0
"""Seconds of silence after which a peer is asked whether it is there (RFC 6455, 5.5.2)."""

_GOING_AWAY = 1001  # the code of a peer who leaves (RFC 6455, 7.4.1)
_GRACE = 1.0  # seconds
_PREFIX = "sec-websocket-"
_PROTOCOL = "sec-websocket-protocol"


class Socket(Protocol):
    """Either end of a WebSocket of aiohttp's."""

    async def receive(self) -> aiohttp.WSMessage:
        """The next message."""

    async def send_bytes(self, data: bytes) -> None:
        """Send a binary message."""

    async def send_str(self, data: str) -> None:
        """Send a text message."""

    async def close(self, *, code: int, message: bytes = b"") -> bool:
        """Send a close, and wait for the peer's."""


class WebSocketTransport(AiohttpTransport):
    """An AiohttpTransport that opens WebSockets as well."""

    async def upgrade(self, request: Request) -> Response:
        """The 101 to a request for a WebSocket: its stream is the server's messages, and the messages of the request's
        body are sent meanwhile. Any other answer is one as `send` gives. DoubleOError where there is none."""
        now = time.monotonic()
        until, limit = limits(request, now)
        kept, proxy = self._session(), None
        try:
            async with timeout(until - now):
                url = url_of(request.url)
                proxy = await self._proxy_for(url)
                check_tunnel(url, proxy)
                answer = await _connected(kept, request, url, proxy=proxy, ssl=self._trust.of(request))
            if isinstance(answer, Response):
                return answer
            return await self._response(Source(answer, request, (until, limit), kept, proxy))
        except ERRORS as error:
            failure = on_the_way(translated(error, limit, kept), request, proxy)
            failure.unsent = isinstance(error, UNCONNECTED)
        raise failure  # out here: the foreign error holds the request and so the credential


class _Refused(Exception):
    """A server answered a request for a WebSocket with something else."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        super().__init__("refused")
        self.answer = answer


async def _only_switched(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    # Else aiohttp would follow a redirect, and forget the body of what is no 101.
    answer = await handler(request)
    if answer.status != HTTPStatus.SWITCHING_PROTOCOLS:
        raise _Refused(answer)
    return answer


async def _connected(
    kept: aiohttp.ClientSession, request: Request, url: URL, **way: Any
) -> Response | aiohttp.ClientResponse:
    fields = list(fields_of(request))
    offered = [value for name, value in fields if name.lower() == _PROTOCOL]
    session = session_over(kept.connector, timeout=aiohttp.ClientTimeout(total=None), middlewares=(_only_switched,))
    try:
        socket = await session.ws_connect(
            url,
            headers=[pair for pair in fields if not pair[0].lower().startswith(_PREFIX)],
            protocols=[name.strip() for value in offered for name in value.split(",")],
            heartbeat=HEARTBEAT,
            max_msg_size=MAX_MESSAGE,
            **way,
        )
    except _Refused as refused:
        return refused.answer
    finally:
        session.detach()
    sending = asyncio.ensure_future(_send_all(socket, request.body))
    sending.add_done_callback(lambda _: abort_socket(socket))
    # A caller who closed and left at once has a close for the upstream on its way.
    stream = Body(messages(socket), abort=lambda: sending.get_loop().call_later(_GRACE, sending.cancel))
    chosen = {} if socket.protocol is None else {"Sec-WebSocket-Protocol": socket.protocol}
    return Response(HTTPStatus.SWITCHING_PROTOCOLS, Headers(chosen), request=request, stream=stream)


async def messages(socket: Socket) -> AsyncIterator[Message]:
    """The messages that a peer sends, its close the last. DoubleOError where it leaves without one."""
    while True:
        received = await socket.receive()
        if received.type is WSMsgType.TEXT:
            yield Message("text", received.data.encode())
        elif received.type is WSMsgType.BINARY:
            yield Message("binary", received.data)
        elif received.type is WSMsgType.CLOSE:
            yield Message.closing(received.data or None, received.extra or "")
            return
        elif received.type is WSMsgType.CLOSING:  # our own end of it
            return
        else:
            raise DoubleOError("the WebSocket broke off", reason="connection")


async def send_message(socket: Socket, message: bytes) -> None:
    """Send one message. ConnectionError where the peer is gone."""
    if not isinstance(message, Message) or message.opcode == "binary":
        await socket.send_bytes(message)
    elif message.opcode == "text":
        await socket.send_str(message.decode())
    else:
        await socket.close(code=message.code, message=message.reason)


async def _send_all(socket: aiohttp.ClientWebSocketResponse, body: bytes | Body | None) -> None:
    with suppress(ConnectionError):
        with suppress(DoubleOError):  # the caller has left
            if isinstance(body, Body):
                async for message in body:
                    await send_message(socket, message)
        await socket.close(code=_GOING_AWAY)  # does nothing where it is closed
