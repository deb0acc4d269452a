"""AiohttpTransport alone: what it hands to aiohttp, what it makes of its errors, loops and threads."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver
from aioresponses import aioresponses
from yarl import URL

import oo
from oo.transports.aiohttp import AiohttpTransport
from tests.support.faults import BODY, CLOSE, READ, SECRET, SILENCE, answer, nobody, serving, unaccepting
from tests.support.probing import TOKEN, assert_ours
from tests.support.waiting import PATIENCE

BASE = "http://localhost:3001"
SOON = 5.0  # seconds: neither the call nor the server would end by itself until then
T = TypeVar("T")


@pytest.fixture
def mocked() -> Iterator[aioresponses]:
    with aioresponses() as mock:
        yield mock


def on_a_loop(call: Callable[[], Awaitable[T]]) -> T:
    """Run on a loop of its own, ended in the order that asyncio.run ends one."""

    async def awaited() -> T:
        return await call()

    with asyncio.Runner() if hasattr(asyncio, "Runner") else _Runner() as runner:
        return runner.run(awaited())


class _Runner:
    """asyncio.Runner, which Python 3.10 has not."""

    def __enter__(self) -> _Runner:
        self.loop = asyncio.new_event_loop()
        return self

    def run(self, coroutine: Any) -> Any:
        return self.loop.run_until_complete(coroutine)

    def __exit__(self, *_: object) -> None:
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()


async def afailure(client: oo.AsyncClient) -> oo.DoubleOError:
    with pytest.raises(oo.SecretError) as caught:
        await client.get_secret(TOKEN)
    assert_ours(caught.value, TOKEN, SECRET)
    return caught.value


async def test_aiohttp_is_handed_one_request(mocked: aioresponses) -> None:
    mocked.post(f"{BASE}/api/proxy/v1/chat?a=b", payload={"ok": True})
    async with oo.AsyncClient(BASE, timeout=7) as client:
        assert await client.proxy("v1/chat?a=b", TOKEN, payload={"a": 1}, headers={"X-Team": "blue"}) == {"ok": True}
    ((key, calls),) = mocked.requests.items()
    assert key == ("POST", URL(f"{BASE}/api/proxy/v1/chat?a=b"))
    (call,) = calls
    sent = call.kwargs
    assert sent["data"] == b'{"a":1}'
    assert sent["headers"]["Authorization"] == f"Bearer {TOKEN}"
    assert sent["headers"]["X-Team"] == "blue"
    assert sent["headers"]["Accept-Encoding"] == "gzip, deflate"
    assert (sent["allow_redirects"], sent["proxy"]) == (False, None)


@pytest.mark.parametrize("status", [400, 403, 404, 429, 500, 503])
async def test_a_status_is_left_to_the_chain(mocked: aioresponses, status: int) -> None:
    mocked.get(f"{BASE}/api/secret", payload={"error": "no"}, status=status, headers={"Retry-After": "3"})
    async with oo.AsyncClient(BASE) as client:
        error = await afailure(client)
    assert (error.reason, error.status, error.retry_after) == ("status", status, 3.0)


FOREIGN: list[tuple[Exception, str]] = [
    (aiohttp.ClientError(f"no {TOKEN}"), "connection"),
    (aiohttp.ClientOSError(104, f"no {TOKEN}"), "connection"),
    (aiohttp.ServerDisconnectedError(f"no {TOKEN}"), "connection"),
    (aiohttp.ClientPayloadError(f"no {TOKEN}"), "connection"),
    (aiohttp.ServerTimeoutError(f"no {TOKEN}"), "timeout"),
    (aiohttp.ConnectionTimeoutError(f"no {TOKEN}"), "timeout"),
    (asyncio.TimeoutError(f"no {TOKEN}"), "timeout"),
    (aiohttp.InvalidURL(f"no {TOKEN}"), "protocol"),
    (ConnectionResetError(104, f"no {TOKEN}"), "connection"),
]


@pytest.mark.parametrize(("foreign", "reason"), FOREIGN, ids=lambda each: type(each).__name__)
async def test_a_foreign_error_stays_at_the_edge(mocked: aioresponses, foreign: Exception, reason: str) -> None:
    mocked.get(f"{BASE}/api/secret", exception=foreign)
    async with oo.AsyncClient(BASE) as client:
        error = await afailure(client)
    assert (error.reason, error.retryable) == (reason, reason != "protocol")


async def test_an_error_of_nobody_s_making_is_not_swallowed(mocked: aioresponses) -> None:
    mocked.get(f"{BASE}/api/secret", exception=KeyError("a bug"))
    async with oo.AsyncClient(BASE) as client:
        with pytest.raises(KeyError):
            await client.get_secret(TOKEN)


async def test_64_tasks_share_one_session_and_get_their_own_answers() -> None:
    def echo(request: bytes) -> bytes:
        return answer(b'{"value": "%b"}' % request.split(b"Bearer ")[1].split(b"\r\n")[0])

    with serving(reply=echo) as server:
        async with oo.AsyncClient(server.url) as client:

            async def call(number: int) -> list[str]:
                return [await client.get_secret(f"token-{number}-{turn}") for turn in range(5)]

            answers = await asyncio.gather(*map(call, range(64)))
        assert answers == [[f"token-{number}-{turn}" for turn in range(5)] for number in range(64)]
        assert len(server.requests) == 320
        assert server.connections <= 64


def test_one_client_serves_loop_after_loop_and_leaves_no_connection_in_any() -> None:
    with serving() as server:
        client = oo.AsyncClient(server.url)
        for turn in range(1, 6):
            assert on_a_loop(lambda: asyncio.gather(client.get_secret(TOKEN), client.get_secret(TOKEN))) == [SECRET] * 2
            assert server.until(left=server.connections)
            assert len(server.requests) == 2 * turn
        on_a_loop(client.close)
        gc.collect()


def test_a_loop_that_was_closed_without_order_is_forgotten() -> None:
    # Its connection closes by itself, so that nothing is left for the loop to do.
    with serving([READ, answer(BODY, b"Connection: close")]) as server:
        client = oo.AsyncClient(server.url)
        loop = asyncio.new_event_loop()
        assert loop.run_until_complete(client.get_secret(TOKEN)) == SECRET
        loop.run_until_complete(asyncio.sleep(0.01))
        loop.close()
        gone = weakref.ref(loop)
        del loop
        assert on_a_loop(lambda: client.get_secret(TOKEN)) == SECRET
        gc.collect()
        assert gone() is None


def test_one_client_serves_two_threads_at_once() -> None:
    with serving() as server:
        client, both = oo.AsyncClient(server.url), threading.Barrier(2)
        answers: list[list[str]] = []

        async def calls() -> list[str]:
            found = []
            for _ in range(20):
                both.wait(PATIENCE)
                found.append(await client.get_secret(TOKEN))
            return found

        threads = [threading.Thread(target=lambda: answers.append(on_a_loop(calls)), daemon=True) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        assert answers == [[SECRET] * 20] * 2
        assert (server.connections, len(server.requests)) == (2, 40)
        assert server.until(left=2)


async def test_closing_gives_the_connections_back() -> None:
    with serving() as server:
        client = oo.AsyncClient(server.url)
        await client.get_secret(TOKEN)
        assert (server.connections, server.left) == (1, 0)
        await client.close()
        await client.close()
        assert await asyncio.to_thread(server.until, left=1)
        assert (await afailure(client)).reason == "closed"


class Asked(AbstractResolver):
    """A resolver that knows no answer."""

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> Any:
        await asyncio.Event().wait()

    async def close(self) -> None:
        pass


@contextmanager
def never_connected(step: str) -> Iterator[tuple[str, AiohttpTransport]]:
    """A URL, and a transport that gets no further than that step towards it."""
    with unaccepting() as deaf, serving([SILENCE]) as silent:
        url = {"resolve": deaf.replace("127.0.0.1", "gateway.localhost"), "connect": deaf}.get(step)
        yield url or silent.url.replace("http", "https"), AiohttpTransport(resolver=Asked())


@pytest.mark.parametrize("step", ["resolve", "connect", "handshake"])
async def test_closing_ends_a_call_that_is_not_yet_connected(step: str) -> None:
    with never_connected(step) as (url, transport):
        client = oo.AsyncClient(url, PATIENCE, transport=transport)
        # Two, because who asks for a name that is being asked for waits in another place.
        waiting = [asyncio.create_task(afailure(client)) for _ in range(2)]
        await asyncio.sleep(0.02)
        await client.close()
        errors = await asyncio.wait_for(asyncio.gather(*waiting), SOON)
        assert [(error.reason, error.retryable) for error in errors] == [("closed", False)] * 2


async def test_closing_ends_a_call_that_looks_whether_its_host_is_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, go = asyncio.Event(), asyncio.Event()

    async def looking(*_args: object, **_keywords: object) -> list[Any]:
        asked.set()
        await go.wait()
        return []

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", looking)
    client = oo.AsyncClient("http://gateway.localhost:9", PATIENCE, transport=AiohttpTransport())
    waiting = asyncio.create_task(afailure(client))
    await asked.wait()
    await client.close()
    go.set()
    assert (await asyncio.wait_for(waiting, SOON)).reason == "closed"


@pytest.mark.parametrize("step", ["resolve", "connect", "handshake"])
async def test_a_call_cancelled_before_it_is_connected_is_cancelled_though_it_is_closed_too(step: str) -> None:
    with never_connected(step) as (url, transport):
        client = oo.AsyncClient(url, PATIENCE, transport=transport)
        waiting = asyncio.create_task(client.get_secret(TOKEN))
        await asyncio.sleep(0.02)
        waiting.cancel()
        await client.close()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(waiting, SOON)


async def test_a_call_cancelled_as_its_connection_is_made_closes_it() -> None:
    with serving() as server:
        async with oo.AsyncClient(server.url) as client:
            before = asyncio.all_tasks()
            waiting = asyncio.create_task(client.get_secret(TOKEN))
            await asyncio.sleep(0)
            (making,) = asyncio.all_tasks() - before - {waiting}
            making.add_done_callback(lambda _: waiting.cancel())
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert await asyncio.to_thread(server.until, left=1)
            assert (server.connections, server.requests) == (1, [])


async def test_a_cancelled_call_closes_its_connection_and_disturbs_no_other() -> None:
    with serving([READ, SILENCE]) as server:
        async with oo.AsyncClient(server.url) as client:
            waiting = asyncio.create_task(client.get_secret(TOKEN))
            assert await asyncio.to_thread(server.until, requests=1)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert await client.get_secret(TOKEN) == SECRET
            assert await asyncio.to_thread(server.until, left=1)
            assert server.connections == 2


async def test_a_call_cancelled_within_its_body_closes_its_connection() -> None:
    with serving([READ, answer(b"x" * 99)[:-9], SILENCE]) as server:
        async with oo.AsyncClient(server.url) as client:
            waiting = asyncio.create_task(client.get_secret(TOKEN))
            assert await asyncio.to_thread(server.until, requests=1)
            await asyncio.sleep(0.02)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert await asyncio.to_thread(server.until, left=1)


@pytest.mark.parametrize("connect_timeout", [None, 0.2])
async def test_a_connection_has_a_time_of_its_own(connect_timeout: float | None) -> None:
    transport = AiohttpTransport(connect_timeout=connect_timeout)
    with unaccepting() as url:
        request = oo.Request("GET", url, timeout=60.0 if connect_timeout else 0.2)
        with pytest.raises(oo.DoubleOError) as caught:
            await transport.send(request)
    assert (caught.value.reason, caught.value.unsent) == ("timeout", connect_timeout is not None)
    await transport.close()


async def test_an_error_tells_whether_anything_was_sent() -> None:
    transport = AiohttpTransport()
    with nobody() as url, serving([READ, CLOSE]) as server:
        for place, unsent in ((url, True), ("http://name.invalid", True), (server.url, False)):
            with pytest.raises(oo.DoubleOError) as caught:
                await transport.send(oo.Request("POST", place, body=b"x"))
            assert (caught.value.reason, caught.value.unsent) == ("connection", unsent)
    await transport.close()
