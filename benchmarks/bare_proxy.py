"""The peer of the gateway: a bare reverse proxy on aiohttp, without tokens, checks, masking or an audit."""

from __future__ import annotations

import sys

import aiohttp
from aiohttp import web


def app(upstream: str) -> web.Application:
    application = web.Application()
    session: aiohttp.ClientSession

    async def start(_app: web.Application):  # type: ignore[no-untyped-def]  # a cleanup context
        nonlocal session
        session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        yield
        await session.close()

    async def handle(request: web.Request) -> web.Response:
        path = request.raw_path.removeprefix("/api/proxy")
        headers = {"Authorization": "Bearer the-key-of-the-api", "Content-Type": "application/json"}
        async with session.request(request.method, upstream + path, data=await request.read(), headers=headers) as got:
            return web.Response(status=got.status, body=await got.read(), content_type="application/json")

    application.cleanup_ctx.append(start)
    application.router.add_route("*", "/{tail:.*}", handle)
    return application


if __name__ == "__main__":
    web.run_app(app(sys.argv[2]), host="127.0.0.1", port=int(sys.argv[1]), print=None, access_log=None)
