"""`oo demo`: starts a gateway and an upstream API, makes real calls through the chain, and checks what each one did."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from ._client.api import register, unregister
from ._client.async_client import AsyncClient
from ._client.client import Client
from ._core.pipeline import CallNext, name_of
from ._core.slots import compose
from ._http.request import Request
from ._http.response import Response
from ._plugins import plugins
from .exceptions import AuthenticationError, DoubleOError, ProxyError
from .gateway.app import Gateway
from .gateway.models import Kind, Route, SecretRef
from .gateway.store.base import Keeper
from .hooks import ClientInfo, Slot, hookimpl
from .middleware import SecretCache, default_middleware
from .middleware.default import default_chain
from .testing import BackgroundLoop, temporary_vault

Claim = tuple[str, bool]
"""What should have happened, and whether it did."""

_MESSAGES = [{"role": "user", "content": "Hello!"}]
_RETRIES: dict[str, Any] = {"retries": 3, "backoff_factor": 0.05}
_NEXT = ("oo init", "oo secret set openai-key", "oo serve")


async def stamp(request: Request, call_next: CallNext) -> Response:
    """A middleware that puts the name of a team on every request."""
    return await call_next(request.with_header("X-Team", "blue"))


class AttemptCounter:
    """A plugin that counts the attempts of every client with the default chain."""

    def __init__(self) -> None:
        self.attempts = 0

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        """Count an attempt."""
        self.attempts += 1
        return await call_next(request)

    @hookimpl
    def oo_middleware(self, client: ClientInfo) -> list[tuple[Slot, object]]:  # noqa: ARG002  # the hook's signature
        """Put this middleware inside the retries."""
        return [(Slot.ATTEMPT, self)]


class _Audit:
    """An audit that only counts requests."""

    requests = 0

    def forwarded_for(self, *_args: object, **_named: object) -> None:
        """Trust no proxy."""

    def begin(self, *_args: object, **_named: object) -> None:
        """Do nothing: a call is counted when it has ended."""

    def end(self, *_args: object, **_named: object) -> bool:
        self.requests += 1
        return True

    def cut(self, calls: int) -> None:
        """Do nothing."""

    def is_writable(self) -> bool:
        return True


class _Upstream:
    """A small API that answers chat completions. It notes the key of each request, and can be told to fail."""

    def __init__(self) -> None:
        self.url = ""
        self.key = self.team = ""
        self._failures = 0

    def fail(self, times: int) -> None:
        self._failures = times

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.key, self.team = request.headers.get("Authorization", ""), request.headers.get("X-Team", "")
        if self._failures:
            self._failures -= 1
            return web.Response(status=503, text="busy")
        if request.path.endswith("/echo"):
            return web.json_response({"you sent": self.key})
        if b'"stream":true' not in await request.read():
            return web.json_response({"choices": [{"message": {"role": "assistant", "content": "Hello to you."}}]})
        chunks = [{"choices": [{"delta": {"content": text}}]} for text in ("Hello", " to", " you.")]
        lines = [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks]
        return web.Response(text="".join(lines) + "data: [DONE]\n\n", content_type="text/event-stream")


@dataclass
class _Scene:
    """The gateway that is called, with its vault, its upstream and the tokens for it."""

    vault: Keeper
    url: str
    upstream: _Upstream
    audit: _Audit
    counter: AttemptCounter
    value: str
    key: str
    run: Callable[[Any], Any]
    tokens: dict[str, str] = field(default_factory=dict)


@dataclass
class _World:
    """The clients of one world: one with the default chain, one with a middleware of the caller's own. `finish` waits
    for a call's result."""

    client: Any
    stamped: Any
    finish: Callable[[Any], Any]
    chat: Callable[[str], str]

    def call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return self.finish(getattr(self.client, method)(*args, **kwargs))


def run(show: Callable[[str], None]) -> bool:
    """Run the demonstration and show a line for each claim. Returns whether all of them held."""
    show("starting a gateway and an API on loopback ...")
    audit, upstream, counter = _Audit(), _Upstream(), AttemptCounter()
    with BackgroundLoop() as background:
        background.enter(_listening(upstream))
        vault = background.enter(temporary_vault())
        gateway = background.enter(Gateway(vault, audit=audit))
        value, key = f"demo-{secrets.token_hex(4)}", f"demo-key-{secrets.token_hex(8)}"
        scene = _Scene(vault, gateway.url, upstream, audit, counter, value, key, background.run)
        _fill(scene)
        plugin = register(counter, "oo-demo")
        try:
            held = _show(scene, show)
        finally:
            unregister(plugin)
    show("\nNext, a gateway of your own:")
    for command in _NEXT:
        show(f"  {command}")
    return held


def _show(scene: _Scene, show: Callable[[str], None]) -> bool:
    slots = plugins.middleware(ClientInfo(scene.url, True, 3))
    chain = [name_of(part).rpartition(".")[2] for part in compose(default_chain(**_RETRIES), slots)]
    show(f"gateway {scene.url}, upstream {scene.upstream.url}")
    show(f"chain {' -> '.join(chain)}, of which AttemptCounter is a plugin's")
    held = True
    for name, world in _worlds(scene.url):
        show(name)
        for claim, holds in _claims(world, scene):
            held = held and holds
            show(f"  {'ok' if holds else 'FAILED':<7}{claim}")
    return held


def _fill(scene: _Scene) -> None:
    """Keep a secret, an environment and a route in the vault, and make a token for each."""
    vault, run = scene.vault, scene.run
    run(vault.put_secret("greeting", scene.value))
    run(vault.put_secret("api-key", scene.key))
    run(vault.put_environment("web", {"GREETING": SecretRef("greeting"), "MODE": "demo"}))
    inject, allow = {"Authorization": "Bearer {api-key}"}, ("* /v1/*",)
    run(vault.put_route(Route("chat", scene.upstream.url, inject, allow, allow_private=True)))
    things: tuple[tuple[Kind, str], ...] = (("secret", "greeting"), ("env", "web"), ("route", "chat"))
    scene.tokens = {kind: run(vault.issue(kind, name)) for kind, name in things}


def _claims(world: _World, scene: _Scene) -> Iterator[Claim]:
    yield from _fetches(world, scene)
    yield from _proxied(world, scene)
    yield from _refusals(world, scene)


def _fetches(world: _World, scene: _Scene) -> Iterator[Claim]:
    def counted(method: str, *args: Any, **kwargs: Any) -> tuple[Any, int]:
        before = scene.audit.requests
        return world.call(method, *args, **kwargs), scene.audit.requests - before

    got, requests = counted("get_secret", scene.tokens["secret"], cache_ttl=60)
    yield f"get_secret fetched {got} ({requests} request)", (got, requests) == (scene.value, 1)
    got, requests = counted("get_secret", scene.tokens["secret"], cache_ttl=60)
    yield f"get_secret again: a cached hit ({requests} requests)", (got, requests) == (scene.value, 0)
    got, _ = counted("get_env", scene.tokens["env"])
    yield f"get_env fetched {', '.join(got)}", got == {"GREETING": scene.value, "MODE": "demo"}


def _proxied(world: _World, scene: _Scene) -> Iterator[Claim]:
    token, upstream = scene.tokens["route"], scene.upstream
    upstream.fail(2)
    before = scene.counter.attempts
    got = world.call("chat_completion", token, _MESSAGES)["choices"][0]["message"]["content"]
    attempts = scene.counter.attempts - before
    yield f"chat survived two 503s: {got} (the plugin counted {attempts} attempts)", attempts == 3 and bool(got)
    knew = scene.key in json.dumps([got, scene.tokens])
    yield "the upstream saw the real key, the caller never did", upstream.key == f"Bearer {scene.key}" and not knew
    echo = json.dumps(world.call("proxy", "v1/echo", token, "GET"))
    yield f"an API that repeats the key is masked: {echo}", "***" in echo and scene.key not in echo
    said = world.chat(token)
    yield f"a stream came in pieces: {said}", said == "Hello| to| you."
    world.finish(world.stamped.proxy("v1/echo", token, "GET"))
    yield f"a middleware of one's own put X-Team: {upstream.team} on a request", upstream.team == "blue"


def _refusals(world: _World, scene: _Scene) -> Iterator[Claim]:
    error = _refused(lambda: world.call("proxy", "admin/keys", scene.tokens["route"], "GET"))
    denied = isinstance(error, ProxyError) and error.status == 403
    yield "a path that the route does not allow is denied (403)", denied
    token = scene.run(scene.vault.issue("secret", "greeting", label="to be revoked"))
    world.call("get_secret", token)
    [issued] = [
        candidate
        for candidate in scene.run(scene.vault.tokens())
        if candidate.label == "to be revoked" and not candidate.revoked
    ]
    scene.run(scene.vault.revoke(issued.id))
    error = _refused(lambda: world.call("get_secret", token))
    yield "a token that was revoked opens nothing from then on (401)", isinstance(error, AuthenticationError)


def _refused(call: Callable[[], Any]) -> DoubleOError | None:
    try:
        call()
    except DoubleOError as error:
        return error
    return None


def _worlds(url: str) -> Iterator[tuple[str, _World]]:
    # Each world has a store of its own, so that the second has to fetch as the first did.
    own = [stamp, *default_middleware()]
    with Client(url, cache=SecretCache(), **_RETRIES) as client, Client(url, middleware=own) as stamped:

        def chat(token: str) -> str:
            with client.chat_completion(token, _MESSAGES, stream=True) as chunks:
                return "|".join(chunk["choices"][0]["delta"]["content"] for chunk in chunks)

        yield "Client", _World(client, stamped, lambda result: result, chat)
    loop = asyncio.new_event_loop()
    try:
        other, stamped_too = AsyncClient(url, cache=SecretCache(), **_RETRIES), AsyncClient(url, middleware=own)

        async def chat_async(token: str) -> str:
            chunks = await other.chat_completion(token, _MESSAGES, stream=True)
            return "|".join([chunk["choices"][0]["delta"]["content"] async for chunk in chunks])

        finish = loop.run_until_complete
        yield "AsyncClient", _World(other, stamped_too, finish, lambda token: finish(chat_async(token)))
        finish(other.close())
        finish(stamped_too.close())
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
