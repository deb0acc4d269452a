from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from oo.gateway.fronts.admin import AdminFront, pages
from oo.gateway.http_server.server import Server
from oo.gateway.listening import bound, url_of
from tests.support.processes import Got, get


@asynccontextmanager
async def served(why: str = "", token: bytes | None = None) -> AsyncIterator[str]:
    async def ready() -> str:
        return why

    front = AdminFront(pages(ready, lambda: b"counted 1\n"), token)
    server = Server(front.handle, front.refuse)
    sock = bound("127.0.0.1", 0)
    await server.listen(sock)
    try:
        yield url_of(sock, tls=False)
    finally:
        await server.end()


@pytest.mark.parametrize(
    ("path", "why", "status", "body"),
    [
        ("/metrics", "", 200, "counted 1\n"),
        ("/metrics?x=1", "draining", 200, "counted 1\n"),
        ("/health", "draining", 200, '{"status": "ok"}'),
        ("/ready", "", 200, '{"status": "ready"}'),
        ("/ready", "draining", 503, '{"status": "draining"}'),
        ("/api/secret", "", 404, "there is nothing here\n"),
    ],
)
async def test_its_pages_are_these(path: str, why: str, status: int, body: str) -> None:
    async with served(why) as url:
        got = await asyncio.to_thread(get, url, None, path)
    assert (got.status, got.body) == (status, body)
    if path == "/metrics":
        assert got.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"


async def test_nothing_is_changed_by_it() -> None:
    async with served() as url:
        got = await asyncio.to_thread(get, url, None, "/metrics", "POST")
    assert (got.status, got.headers["Allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer the-token-of-metrics"}, 200),
        ({"Authorization": "bearer the-token-of-metrics"}, 200),
        ({"Authorization": "Bearer the-token-of-metric"}, 401),
        ({"Authorization": "Basic the-token-of-metrics"}, 401),
    ],
)
async def test_a_token_is_asked_for_where_there_is_one(fields: dict[str, str], status: int) -> None:
    def ask(url: str) -> Got:
        return get(url, None, "/metrics", **fields)

    async with served(token=b"the-token-of-metrics") as url:
        assert (await asyncio.to_thread(ask, url)).status == status


async def test_what_is_no_http_is_refused() -> None:
    async with served() as url:
        host, port = url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"nonsense\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.0 400")
        writer.close()
