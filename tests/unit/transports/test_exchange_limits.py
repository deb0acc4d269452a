"""Limits: until when an attempt may take, and how many connections there may be."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import oo
from oo._client.operations import ClientContext
from oo._http.request import Request, limits, timed_out
from oo.transports.exchange import connection_limit, is_streaming
from tests.support.faults import CLOSE, READ, answer, serving
from tests.support.probing import TOKEN
from tests.support.worlds import World


def request(deadline: float | None = None, stream: bool = False) -> Request:
    return Request(
        "GET",
        "http://h/",
        context=ClientContext("proxy", lambda response: response),
        timeout=5,
        deadline=deadline,
        stream_response=stream,
    )


@pytest.mark.parametrize(
    ("deadline", "wanted"), [(None, (15, "timeout")), (20.0, (15, "timeout")), (12.0, (12.0, "deadline"))]
)
def test_the_nearer_limit_counts(deadline: float | None, wanted: tuple[float, str]) -> None:
    assert limits(request(deadline), 10) == wanted


def test_a_deadline_that_has_passed_is_an_error() -> None:
    with pytest.raises(oo.DoubleOError) as caught:
        limits(request(10.0), 10.0)
    assert (caught.value.reason, caught.value.retryable) == ("deadline", False)
    assert (timed_out("timeout").reason, timed_out("timeout").retryable) == ("timeout", True)


@pytest.mark.parametrize(("status", "streaming"), [(200, True), (206, True), (199, False), (404, False)])
def test_a_stream_is_one_where_it_succeeded(status: int, streaming: bool) -> None:
    assert is_streaming(request(stream=True), status) is streaming
    assert not is_streaming(request(), status)


def test_a_limit_is_at_most_half_of_the_files() -> None:
    resource = pytest.importorskip("resource")
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert connection_limit(1) == 1
    assert connection_limit(1 << 40) in (files // 2, 1 << 40)


def test_calls_wait_for_a_connection(world: World) -> None:
    with serving(reply=lambda _request: [0.02, answer()]) as server:  # type: ignore[list-item]
        client = world.client(server.url, max_connections=2)
        calls = [lambda: client.client.get_secret(TOKEN)] * 12
        assert world.together(*calls) == ["good"] * 12
        assert server.connections == 2


def test_a_call_waits_no_longer_than_it_may(world: World) -> None:
    with serving(reply=lambda _request: [0.5, answer()]) as server:  # type: ignore[list-item]
        client = world.client(server.url, max_connections=1, timeout=0.2)
        results = world.together(*[lambda: client.client.get_secret(TOKEN)] * 3)
        assert [error.reason for error in results] == ["timeout"] * 3


def test_a_call_that_waits_ends_when_the_client_is_closed(world: World) -> None:
    with serving([READ, 1.0, CLOSE]) as server:
        client = world.client(server.url, max_connections=1)

        def close() -> Any:
            if world.blocking:
                assert server.until(requests=1)
                time.sleep(0.1)
                return client.client.close()

            async def later() -> None:
                await asyncio.sleep(0.1)
                await client.client.close()

            return later()

        waiting = [lambda: client.client.get_secret(TOKEN)] * 2
        first, second, _ = world.together(*waiting, close)
        assert {first.reason, second.reason} >= {"closed"}


FULL = """
import asyncio, json, resource, sys, threading
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
import oo
if sys.argv[2] == "asyncio":
    async def calls():
        async with oo.AsyncClient(sys.argv[1]) as client:
            return await asyncio.gather(*(client.get_secret("t") for _ in range(600)))
    found = asyncio.run(calls())
else:
    found, client = [], oo.Client(sys.argv[1])
    threads = [threading.Thread(target=lambda: found.append(client.get_secret("t"))) for _ in range(600)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
print(json.dumps([len(found), sorted(set(found))]))
"""


def test_600_calls_at_once_do_with_256_files(world: World) -> None:
    pytest.importorskip("resource")
    with serving(reply=lambda _request: answer()) as server:
        ran = subprocess.run(
            [sys.executable, "-c", FULL, server.url, world.name],
            capture_output=True,
            text=True,
            timeout=60,
            cwd=Path(oo.__file__).parents[1],
        )
        assert (ran.returncode, ran.stderr) == (0, "")
        assert json.loads(ran.stdout) == [600, ["good"]]
