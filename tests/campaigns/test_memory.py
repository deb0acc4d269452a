"""Calls leave no memory behind in a gateway: what it holds after ten thousand is what it holds from then on.

10,000 more of each kind; `OO_CALLS=1000000 pytest -n 0 -s -m campaign tests/campaigns/test_memory.py` makes a million
and prints what it measures.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from benchmarks.load import UNIQUE, keyed, request
from oo.gateway.models import Route
from oo.testing import BackgroundLoop
from tests.campaigns.test_bodies import rss
from tests.support.processes import Home, Serving, needs_proc
from tests.support.upstream import OpenAI

CALLS = int(os.environ.get("OO_CALLS", "10000"))
FIRST = 10_000
CALLERS = 16
GROWTH = 2.0  # MiB: what the allocator does of its own
CHAT = b'{"model": "m", "messages": []}'

pytestmark = [pytest.mark.campaign, needs_proc]


class Forgetful(OpenAI):
    """Keeps nothing of what it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = _Nothing()


class _Nothing(list[dict[str, object]]):
    def append(self, _: dict[str, object]) -> None:
        """Forget it."""


@pytest.fixture
def upstream() -> Iterator[Forgetful]:
    with BackgroundLoop() as background:
        yield background.enter(Forgetful())


@pytest.fixture
def home(tmp_path: Path, upstream: Forgetful) -> Home:
    home = Home(tmp_path / "home").made(key="the-key")
    route = Route("r", upstream.url, {"Authorization": "Bearer {key}"}, allow_private=True, allow_weak=True)
    home.run(lambda vault: vault.put_route(route))
    return home


def calls(home: Home) -> dict[str, tuple[int, bytes]]:
    """The status and the request of each kind of call."""
    secret, counted = home.token("secret", "key"), home.token("secret", "key", uses=10**9)
    route = home.token("route", "r")
    chat = request("POST", "/api/proxy/v1/chat/completions", route, CHAT)
    return {
        "secret": (200, request("GET", "/api/secret", secret)),
        "counted": (200, request("GET", "/api/secret", counted)),
        "refused": (401, request("GET", "/api/secret", "oo_" + "x" * 43)),
        "chat": (200, chat),
        "keyed": (200, keyed(chat)),
        "not found": (404, request("POST", "/api/proxy/v1/nothing", route, CHAT)),
    }


async def made(port: int, sent: bytes, status: int, name: str, count: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for number in range(count):
        writer.write(sent.replace(UNIQUE, f"{name}-{number}".encode()))
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 %d " % status), head
        await reader.readexactly(int(head.lower().partition(b"content-length:")[2].split()[0]))
    writer.close()


def load(serving: Serving, sent: bytes, status: int, name: str, count: int) -> float:
    """The memory of the gateway after so many calls, in MiB."""
    port = urlsplit(serving.url).port or 0

    async def together() -> None:
        each = count // CALLERS
        await asyncio.gather(*(made(port, sent, status, f"{name}-{n}", each) for n in range(CALLERS)))

    asyncio.run(together())
    return rss(serving)


@pytest.mark.parametrize("kind", ["secret", "counted", "refused", "chat", "keyed", "not found"])
def test_calls_leave_no_memory_behind(home: Home, kind: str) -> None:
    status, sent = calls(home)[kind]
    with home.serve() as serving:
        before = load(serving, sent, status, "first", FIRST)
        after = load(serving, sent, status, "then", CALLS)
    print(f"{kind}: {before:.1f} MiB after {FIRST:,} calls, {after:.1f} after {CALLS:,} more")
    assert after - before <= GROWTH
