"""What the hottest paths call, keep and copy: counts, which do not depend on the machine."""

from __future__ import annotations

import asyncio
import gc
import http.client
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Any
from urllib.parse import urlsplit

import oo
from benchmarks.load import BODY
from benchmarks.processes import MIB
from benchmarks.streams import streaming
from benchmarks.upstream import plain
from oo.testing import LocalGateway, gateway

Check = tuple[str, float, float]
"""What is counted, how much it is, and how much it may be."""

MOST_CALLS = {"fetch, blocking": 680, "fetch, asyncio": 360, "secret of a gateway": 370, "chat of a gateway": 800}
"""Python and C functions that a call may call, a tenth above what is seen."""
MOST_KEPT = 64 << 10
"""Bytes that 200 calls may leave behind."""
MOST_COPIES = 2.2
"""How often a whole answer may be in memory at once."""
_TIMES = 20
_OFTEN = 200
_LARGE = 8  # MiB


def checks() -> Iterator[Check]:
    """Each path's functions and memory, and the copies of a large answer."""
    for name, path in PATHS.items():
        with path() as (call, profile):
            for _ in range(3):
                call()  # what is made once is made
            yield f"functions called by a {name}", functions(call, profile), MOST_CALLS[name]
            yield f"bytes kept by {_OFTEN} of a {name}", kept(call, _OFTEN), MOST_KEPT
    yield "copies of a large answer", _copies(), MOST_COPIES


Profile = Callable[[Any], object]
"""Sets the profile function of the thread that is counted."""
Path = tuple[Callable[[], object], Profile]


def functions(call: Callable[[], object], profile: Profile = sys.setprofile) -> int:
    """How many functions a call calls, of Python and of C."""

    def counted(call: Callable[[], object]) -> int:
        calls = 0

        def note(_frame: Any, event: str, _argument: Any) -> None:
            nonlocal calls
            calls += event in ("call", "c_call")

        profile(note)
        call()
        profile(None)
        return calls

    # The least, since the others met a timer, say; and without what it takes to count.
    return min(counted(call) for _ in range(_TIMES)) - min(counted(int) for _ in range(_TIMES))


def kept(call: Callable[[], object], times: int) -> float:
    """Bytes that so many calls leave behind."""
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(times):
        call()
    gc.collect()
    left = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return left


def _copies() -> float:
    with streaming() as upstream, oo.Client(upstream.url, plugins=False) as client:
        tracemalloc.start()
        client.send(f"/stream/{_LARGE}", TOKEN)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return peak / (_LARGE * MIB)


@contextmanager
def _blocking() -> Iterator[Path]:
    with plain() as server, oo.Client(server.url, plugins=False) as client:
        yield lambda: client.get_secret(TOKEN), sys.setprofile


@contextmanager
def _asyncio() -> Iterator[Path]:
    with plain() as server, closing(asyncio.new_event_loop()) as loop:
        client = oo.AsyncClient(server.url, plugins=False)
        yield lambda: loop.run_until_complete(client.get_secret(TOKEN)), sys.setprofile
        loop.run_until_complete(client.close())


@contextmanager
def _gateway(sent: Callable[[LocalGateway, str], tuple[str, str, bytes | None, str]]) -> Iterator[Path]:
    with ExitStack() as stack:
        url = stack.enter_context(plain()).url
        running = stack.enter_context(gateway())
        method, path, body, token = sent(running, url)
        place = urlsplit(running.url)
        connection = http.client.HTTPConnection(place.hostname or "", place.port)
        stack.callback(connection.close)
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

        def call() -> None:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 200, answer.status

        async def begin(note: Any) -> None:
            sys.setprofile(note)

        yield call, lambda note: running.run(begin(note))


def _secret(running: LocalGateway, _url: str) -> tuple[str, str, bytes | None, str]:
    return "GET", "/api/secret", None, running.secret("key", "the-key")


def _chat(running: LocalGateway, url: str) -> tuple[str, str, bytes | None, str]:
    running.secret("key", "the-key")
    token = running.route("api", url, {"Authorization": "Bearer {key}"})
    return "POST", "/api/proxy/v1/chat/completions", BODY, token


TOKEN = "oo_benchmark-token-that-opens-nothing"
PATHS: dict[str, Callable[[], Any]] = {
    "fetch, blocking": _blocking,
    "fetch, asyncio": _asyncio,
    "secret of a gateway": lambda: _gateway(_secret),
    "chat of a gateway": lambda: _gateway(_chat),
}
