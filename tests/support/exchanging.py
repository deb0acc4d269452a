"""One request to a handler behind the gateway's own HTTP server, byte by byte."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from oo.gateway.http_server.server import Answer, Server
from oo.gateway.listening import bound


@asynccontextmanager
async def connected(handler: Answer) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection to a server whose requests the handler answers."""
    server = Server(handler, lambda _, status: web.Response(status=status))
    sock = bound("127.0.0.1", 0)
    await server.listen(sock)
    try:
        reader, writer = await asyncio.open_connection(*sock.getsockname())
        try:
            yield reader, writer
        finally:
            writer.close()
    finally:
        await server.end()


async def exchange(handler: Answer, *sent: bytes) -> bytes:
    """All that comes back for a request in pieces, until the server ends the connection."""
    async with connected(handler) as (reader, writer):
        for piece in sent:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.02)
        return await asyncio.wait_for(reader.read(), 10)


def request(method: str = "GET", *headers: str, path: str = "/", body: bytes = b"") -> bytes:
    """A request after which the connection ends."""
    lines = [f"{method} {path} HTTP/1.1", "Host: x", "Connection: close", *headers, "", ""]
    return "\r\n".join(lines).encode() + body
