"""What a call made is given back when it ends, and waits for no garbage collector: a body would be kept as long, and so
would the token."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import oo
from oo.testing import BackgroundLoop, LocalGateway
from tests.support.collector import left_to_collector
from tests.support.upstream import OpenAI
from tests.support.worlds import World

TIMES = 10
CHAT = {"model": "m", "messages": []}
CHATS = "/v1/chat/completions"


@pytest.fixture
def upstream() -> Iterator[OpenAI]:
    with BackgroundLoop() as background:
        yield background.enter(OpenAI())


@pytest.fixture
def tokens(gateway: LocalGateway, upstream: OpenAI) -> dict[str, str]:
    """What opens what, by name."""
    key = gateway.secret("key", "the-key")
    inject = {"Authorization": "Bearer {key}"}
    return {
        "secret": key,
        "counted": gateway.issue("secret", "key", uses=10**6),
        "unknown": "oo_" + "x" * 43,
        "environment": gateway.environment("web", {"A": "b"}),
        "route": gateway.route("api", upstream.url, inject),
        "nowhere": gateway.route("nowhere", "http://127.0.0.1:1", inject),
    }


Call = Callable[[Any, dict[str, str]], Any]
"""Takes a client of either world and the tokens; gives a value, or a coroutine of one."""


async def _read(stream: Any, left: bool) -> None:
    async with stream as events:
        async for _ in events.iter_events():
            if left:
                break


def _streamed(client: Any, token: str, left: bool) -> Any:
    stream = client.stream(CHATS, token, payload={**CHAT, "stream": True})
    if hasattr(stream, "__aenter__"):
        return _read(stream, left)
    with stream as events:
        for _ in events.iter_events():
            if left:
                break
    return None


CALLS: dict[str, Call] = {
    "a secret": lambda client, tokens: client.get_secret(tokens["secret"]),
    "a counted secret": lambda client, tokens: client.get_secret(tokens["counted"]),
    "an environment": lambda client, tokens: client.get_env(tokens["environment"]),
    "a token that is unknown": lambda client, tokens: client.get_secret(tokens["unknown"]),
    "a token of another kind": lambda client, tokens: client.get_secret(tokens["route"]),
    "a proxied call": lambda client, tokens: client.proxy(CHATS, tokens["route"], payload=CHAT),
    "one with a key": lambda client, tokens: client.with_options(retries=1).proxy(CHATS, tokens["route"], payload=CHAT),
    "one with a large body": lambda client, tokens: client.proxy("/v1/upload", tokens["route"], data=bytes(900_000)),
    "one that the API refuses": lambda client, tokens: client.proxy("/v1/no", tokens["route"], payload=CHAT),
    "one that is tried again": lambda client, tokens: client.with_options(retries=1).proxy(
        CHATS, tokens["nowhere"], payload=CHAT
    ),
    "one whose upstream is not there": lambda client, tokens: client.proxy("/v1/models", tokens["nowhere"], "GET"),
    "one that is late": lambda client, tokens: client.proxy("/v1/models", tokens["route"], "GET", deadline=1e-9),
    "a stream": lambda client, tokens: _streamed(client, tokens["route"], left=False),
    "a stream that is left": lambda client, tokens: _streamed(client, tokens["route"], left=True),
}


def garbage(world: World, call: Callable[[], Any]) -> list[str]:
    """What of ours is left to the collector by each of some calls."""

    async def repeated() -> None:
        for _ in range(TIMES):
            with contextlib.suppress(oo.DoubleOError):
                value = call()
                if inspect.isawaitable(value):
                    await value

    def again() -> None:
        if world.loop is not None:
            world.loop.run_until_complete(repeated())
            return
        for _ in range(TIMES):
            with contextlib.suppress(oo.DoubleOError):
                call()

    return left_to_collector(again, TIMES)


@pytest.mark.parametrize("name", CALLS)
def test_a_call_leaves_nothing_to_the_collector(
    world: World, gateway: LocalGateway, tokens: dict[str, str], name: str
) -> None:
    client = world.client(gateway.url, backoff_factor=0.0).client
    assert garbage(world, lambda: CALLS[name](client, tokens)) == []


def test_a_cycle_would_be_seen(world: World) -> None:
    def call() -> None:
        request: Any = oo.Request("GET", "/")
        request.context = [request]

    assert garbage(world, call) == ["Request"]
