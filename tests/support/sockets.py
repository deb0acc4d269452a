"""An upstream that speaks WebSocket, and does what a message tells it to."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import WSMsgType, web

from tests.support.upstream import OpenAI


class Echoing(OpenAI):
    """Says the Authorization that it got, then echoes. `closed` holds how each of its WebSockets ended.

    "bye" has it close, "drop" has it break off. /moved redirects, /refused is a 403.
    """

    def __init__(self) -> None:
        super().__init__()
        self.closed: asyncio.Queue[int | None] = asyncio.Queue()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.seen.append({"path": request.raw_path, "headers": request.headers.copy()})
        if request.path == "/refused":
            return web.json_response({"error": "no such model"}, status=403)
        if request.path == "/moved":
            return web.Response(status=302, headers={"Location": "/echo"})
        socket = web.WebSocketResponse(protocols=("chat", "realtime"))
        await socket.prepare(request)
        try:
            await socket.send_str(f"hello {request.headers.get('Authorization')}")
            await self._echo(request, socket)
        finally:
            self.closed.put_nowait(socket.close_code)
        return socket

    async def _echo(self, request: web.BaseRequest, socket: web.WebSocketResponse) -> None:
        async for message in socket:
            data: Any = message.data
            if message.type is WSMsgType.BINARY:
                await socket.send_bytes(data)
            elif data == "bye":
                await socket.close(code=4001, message=b"so long")
            elif data == "drop" and request.transport is not None:
                request.transport.abort()
            else:
                await socket.send_str(data)
