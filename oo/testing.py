"""Test tools: a transport that answers from a script, a clock that does not wait, and a gateway on loopback.

from oo.testing import MockTransport

transport = MockTransport([503, {"value": "s"}])
with oo.Client(retries=1, transport=transport) as client: ...
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Hashable, Iterable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from ._core.io import IO, BlockingIO, Event
from ._http.body import Body
from ._http.headers import Headers
from ._http.request import Request
from ._http.response import Response

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from .gateway.models import Kind, Variable
    from .gateway.store.base import Keeper

T = TypeVar("T")
_LOOP_TIMEOUT = 10.0  # seconds

Scripted: TypeAlias = "Response | Streamed | Exception | int | bytes | dict[str, Any] | list[Any]"
"""One scripted answer: a status, a 200's bytes or JSON, an exception to raise, a Streamed, or a whole Response."""

Handler: TypeAlias = Callable[[Request], Scripted]
"""Answers a request."""


class Streamed(Body):
    """An answer whose body comes in pieces. Each piece is bytes, or an exception to raise at that place."""

    def __init__(self, pieces: Iterable[bytes | Exception], status: int = 200, headers: Headers | None = None) -> None:
        super().__init__(_script(pieces))
        self.status = status
        self.headers = headers

    @property
    def left(self) -> bool | None:
        """Whether the reader left before the body's end; None while it is being read."""
        return None if self.outcome is None else self.outcome != "complete"


async def _script(pieces: Iterable[bytes | Exception]) -> AsyncIterator[bytes]:
    for piece in pieces:
        if isinstance(piece, Exception):
            raise piece
        yield piece


class MockTransport:
    """A transport for Client and AsyncClient that answers from a handler, or from a script, one item for each request.

    `requests` holds what was sent. `io` is the clock that the chain waits by. AssertionError if the script runs out.
    """

    def __init__(self, answers: Handler | Iterable[Scripted], *, io: IO | None = None) -> None:
        if callable(answers):
            self._answer: Handler = answers
        else:
            script = iter(answers)
            self._answer = lambda _request: next(script)
        self.io = io
        self.requests: list[Request] = []
        self.closed = False

    async def send(self, request: Request) -> Response:
        """Record the request, and return the next answer."""
        self.requests.append(request)
        try:
            scripted = self._answer(request)
        except StopIteration:
            raise AssertionError(f"the script holds no answer number {len(self.requests)}") from None
        return await respond(request, scripted)

    async def close(self) -> None:
        """Set `closed`."""
        self.closed = True


async def respond(request: Request, scripted: Scripted) -> Response:
    """The Response that a scripted answer stands for. An exception is raised."""
    if isinstance(scripted, Exception):
        raise scripted
    if isinstance(scripted, Streamed):
        streamed = Response(scripted.status, scripted.headers, request=request, stream=scripted)
        return streamed if request.stream_response else await streamed.buffered()
    if isinstance(scripted, Response):
        return scripted.replace(request=request)
    if isinstance(scripted, bytes):
        return Response(200, body=scripted, request=request)
    if isinstance(scripted, int):
        return Response(scripted, body=b"{}", request=request)
    headers = Headers([("Content-Type", "application/json")])
    return Response(200, headers, json.dumps(scripted).encode(), request=request)


class VirtualClock:
    """An IO whose sleeps take no time: each moves the clock on. `sleeps` holds the seconds of each."""

    def __init__(self, real: IO | None = None) -> None:
        """`real` is the IO whose events are used; the blocking one by default."""
        self._real = BlockingIO() if real is None else real
        self._now = 0.0
        self.sleeps: list[float] = []

    def now(self) -> float:
        return self._now

    def scope(self) -> Hashable:
        return self._real.scope()

    async def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.advance(seconds)

    def event(self) -> Event:
        return self._real.event()

    def advance(self, seconds: float) -> None:
        """Move the clock on."""
        self._now += seconds


class BackgroundLoop:
    """An event loop on a thread of its own, for a server that a blocking program starts. It runs coroutines, and leaves
    the async context managers that it entered when its `with` block ends."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="oo-background", daemon=True)
        self._stack = AsyncExitStack()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Await a coroutine on the loop, for 10 seconds at most, and return its result."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(_LOOP_TIMEOUT)

    def enter(self, manager: AbstractAsyncContextManager[T]) -> T:
        """Enter an async context manager. It is left when the `with` block ends."""
        return self.run(self._stack.enter_async_context(manager))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self.run(self._stack.aclose())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(_LOOP_TIMEOUT)
            self._loop.close()


class LocalGateway:
    """What `gateway()` gives: a gateway on a free loopback port, over a vault of its own. Each method that adds a thing
    returns a token for it."""

    def __init__(self, url: str, vault: Keeper, background: BackgroundLoop) -> None:
        self.url = url
        self.vault = vault
        self._background = background

    def secret(self, name: str, value: str, **terms: Any) -> str:
        """Add a secret; `terms` are those of `Keeper.issue`."""
        self.run(self.vault.put_secret(name, value))
        return self.issue("secret", name, **terms)

    def environment(self, name: str, variables: Mapping[str, Variable]) -> str:
        """Add an environment."""
        self.run(self.vault.put_environment(name, variables))
        return self.issue("env", name)

    def route(self, name: str, upstream: str, inject: Mapping[str, str] | None = None, **settings: Any) -> str:
        """Add a route. Private addresses are allowed; `settings` are the other fields of a Route."""
        from .gateway.models import Route

        settings = {"allow_private": True, "allow_weak": True, **settings}
        self.run(self.vault.put_route(Route(name, upstream, inject or {}, **settings)))
        return self.issue("route", name)

    def issue(self, kind: Kind, name: str, **terms: Any) -> str:
        """Issue another token for a thing. `terms` are those of `Keeper.issue`."""
        return self.run(self.vault.issue(kind, name, **terms))

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Await a coroutine of the vault on the gateway's loop, and return its result."""
        return self._background.run(coroutine)


@contextmanager
def gateway(store: str | None = None) -> Iterator[LocalGateway]:
    """A gateway that listens on loopback while the `with` block runs, on a thread of its own. Needs `double-o[server]`.
    `store` is the place of one that is there, as `oo serve --store` takes it; by default it is a temporary vault.

    As a pytest fixture:

        @pytest.fixture
        def gateway():
            with oo.testing.gateway() as running:
                yield running
    """
    from .gateway.app import Gateway

    with BackgroundLoop() as background:
        vault = background.enter(temporary_vault() if store is None else _opened(store))
        server = background.enter(Gateway(vault))
        yield LocalGateway(server.url, vault, background)


@asynccontextmanager
async def _opened(place: str) -> AsyncIterator[Keeper]:
    from .gateway.open_store import open_store

    async with open_store(place) as store:
        yield store


@asynccontextmanager
async def temporary_vault() -> AsyncIterator[Keeper]:
    """A vault in a temporary directory. Its master key is in memory alone."""
    from .gateway.sealing import Keyring, new_key
    from .gateway.vault import Vault

    with TemporaryDirectory(prefix="oo-") as directory:
        home, ring = Path(directory), Keyring([new_key()])
        Vault.create(home, ring)
        async with Vault(home, lambda: ring) as vault:
            yield vault
