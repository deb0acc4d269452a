"""`oo demo`: a gateway, an upstream API and real calls through the default chain, each seen to do what it says."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from ._client.async_client import AsyncClient
from ._client.client import Client
from ._http.json import JSON
from .gateway.app import Gateway
from .gateway.models import Kind, Route, SecretRef
from .middleware import SecretCache
from .testing import BackgroundLoop, temporary_vault

Claim = tuple[str, bool]
"""What should have happened, and whether it did."""

_MESSAGES = [{"role": "user", "content": "Hello!"}]


class _Counter:
    """An audit that only counts the requests of callers."""

    requests = 0

    def write(self, **_decision: object) -> None:
        self.requests += 1


class _Upstream:
    """A small API that wants a key, fails twice, and then chats; it keeps what keys it saw."""

    def __init__(self) -> None:
        self.url = ""
        self.keys: list[str] = []
        self._failures = 0

    def fail(self, times: int) -> None:
        self._failures = times

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.keys.append(request.headers.get("Authorization", ""))
        if self._failures:
            self._failures -= 1
            return web.Response(status=503, text="busy")
        reply = {"role": "assistant", "content": "Hello to you."}
        body = json.dumps({"object": "chat.completion", "choices": [{"index": 0, "message": reply}]})
        return web.Response(body=body.encode(), content_type="application/json")


class _World:
    """The calls of one client, and the wire under it."""

    def __init__(self, call: Callable[..., Any], counter: _Counter, upstream: _Upstream) -> None:
        self.call = call
        self.counter = counter
        self.upstream = upstream

    def counted(self, name: str, *args: Any, **kwargs: Any) -> tuple[JSON, int]:
        """What a call gave, and how many requests it made."""
        before = self.counter.requests
        return self.call(name, *args, **kwargs), self.counter.requests - before


def run(show: Callable[[str], None]) -> bool:
    """Run the demonstration, a line for each claim; whether all of them held."""
    counter, upstream = _Counter(), _Upstream()
    value, key = f"demo-{secrets.token_hex(4)}", f"demo-key-{secrets.token_hex(8)}"
    with BackgroundLoop() as background:
        background.enter(_listening(upstream))
        vault = background.enter(temporary_vault())
        gateway = background.enter(Gateway(vault, audit=counter))
        for name, text in (("greeting", value), ("api-key", key)):
            background.run(vault.put_secret(name, text))
        background.run(vault.put_environment("web", {"GREETING": SecretRef("greeting"), "MODE": "demo"}))
        route = Route("chat", upstream.url, {"Authorization": "Bearer {api-key}"}, allow_private=True)
        background.run(vault.put_route(route))
        things: tuple[tuple[Kind, str], ...] = (("secret", "greeting"), ("env", "web"), ("route", "chat"))
        tokens = [background.run(vault.issue(kind, name)) for kind, name in things]
        show(f"gateway {gateway.url}, upstream {upstream.url}")
        held = True
        for name, world in _worlds(gateway.url, counter, upstream):
            show(name)
            for claim, holds in _claims(world, tokens, value, key):
                held = held and holds
                show(f"  {'ok' if holds else 'FAILED':<7}{claim}")
    return held


def _claims(world: _World, tokens: list[str], value: str, key: str) -> Iterator[Claim]:
    secret_token, env_token, route_token = tokens
    got, requests = world.counted("get_secret", secret_token, cache_ttl=60)
    yield f"get_secret fetched {got} ({requests} request)", (got, requests) == (value, 1)
    got, requests = world.counted("get_secret", secret_token, cache_ttl=60)
    yield f"get_secret again: a cached hit ({requests} requests)", (got, requests) == (value, 0)
    got, requests = world.counted("get_env", env_token)
    yield f"get_env fetched {', '.join(got)}", got == {"GREETING": value, "MODE": "demo"}
    world.upstream.fail(2)
    got, requests = world.counted("chat_completion", route_token, _MESSAGES)
    said = got["choices"][0]["message"]["content"]
    yield f"chat survived two 503s ({requests} attempts): {said}", requests == 3 and bool(said)
    got, requests = world.counted("proxy", "v1/chat/completions", route_token, payload={"messages": _MESSAGES})
    saw, knew = world.upstream.keys[-1] == f"Bearer {key}", key in json.dumps([got, tokens])
    yield "proxy: the upstream saw the real key, the caller never did", saw and not knew


def _worlds(url: str, counter: _Counter, upstream: _Upstream) -> Iterator[tuple[str, _World]]:
    # Each world with a store of its own, so that the second has to fetch as the first did.
    with Client(url, retries=3, backoff_factor=0.05, cache=SecretCache()) as client:
        yield "Client", _World(lambda name, *a, **k: getattr(client, name)(*a, **k), counter, upstream)
    loop = asyncio.new_event_loop()
    try:
        other = AsyncClient(url, retries=3, backoff_factor=0.05, cache=SecretCache())

        def call(name: str, *args: Any, **kwargs: Any) -> Any:
            return loop.run_until_complete(getattr(other, name)(*args, **kwargs))

        yield "AsyncClient", _World(call, counter, upstream)
        call("close")
    finally:
        loop.close()


@asynccontextmanager
async def _listening(upstream: _Upstream) -> AsyncIterator[_Upstream]:
    runner = web.ServerRunner(web.Server(upstream.handle, access_log=None), shutdown_timeout=2)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    upstream.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield upstream
    await runner.cleanup()
