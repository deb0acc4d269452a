"""The administrators' front: what a scraper, a load balancer or an operator asks of a listener that callers never
reach."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

from ..http_server import web

Page: TypeAlias = "tuple[int, str, bytes]"
"""A status, a type of content, and a body."""


class AdminFront:
    """Answers GET and HEAD of some paths, each with what its function gives. With a `token`, only whoever shows it as
    Bearer is answered."""

    def __init__(self, pages: Mapping[str, Callable[[], Awaitable[Page]]], token: bytes | None = None) -> None:
        self._pages = pages
        self._token = token

    async def handle(self, received: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        if not self._is_allowed(received.headers.get("Authorization", "")):
            return _text(401, "a token is needed", {"WWW-Authenticate": "Bearer"})
        page = self._pages.get(received.raw_path.partition("?")[0])
        if page is None:
            return _text(404, "there is nothing here")
        if received.method not in ("GET", "HEAD"):
            return _text(405, "this is only read", {"Allow": "GET, HEAD"})
        status, content_type, body = await page()
        return web.Response(status=status, body=body, headers={"Content-Type": content_type})

    def refuse(self, _received: web.BaseRequest, status: int = 400) -> web.Response:
        """Answer what is not HTTP."""
        return _text(status, "the request is not valid HTTP")

    def _is_allowed(self, shown: str) -> bool:
        if self._token is None:
            return True
        scheme, _, token = shown.partition(" ")
        given = token.strip().encode("utf-8", "surrogateescape")
        return scheme.lower() == "bearer" and hmac.compare_digest(given, self._token)


def pages(
    ready: Callable[[], Awaitable[str]], metrics: Callable[[], bytes]
) -> dict[str, Callable[[], Awaitable[Page]]]:
    """The pages of a gateway: `ready` tells why it could not open things now, `metrics` what it has counted."""

    async def health() -> Page:
        return 200, "application/json", b'{"status": "ok"}'

    async def readiness() -> Page:
        why = await ready()
        return 503 if why else 200, "application/json", b'{"status": "%b"}' % (why or "ready").encode()

    async def counted() -> Page:
        # Many files may have to be read, which calls do not wait for.
        return 200, "text/plain; version=0.0.4; charset=utf-8", await asyncio.to_thread(metrics)

    return {"/health": health, "/ready": readiness, "/metrics": counted}


def _text(status: int, text: str, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(status=status, text=f"{text}\n", headers=headers)
