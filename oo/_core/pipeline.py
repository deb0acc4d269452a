"""The chain: composed once, when a client is made, and run in either world.

A pipeline is a row of coroutines, each awaiting the next. An event loop awaits it as it is. The blocking client
starts it with one `send(None)`: its transport and its IO never suspend, so the coroutine runs to its end on the
calling thread and comes back as StopIteration. What does suspend awaited something that only a loop can finish.
"""

from __future__ import annotations

import inspect
import traceback
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterator, Sequence
from functools import partial
from itertools import takewhile
from types import CodeType
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

from .._http.request import Request
from .._http.response import Response
from .io import IO

T = TypeVar("T")


class CallNext(partial[Awaitable[Response]]):
    """The rest of the chain, as a middleware sees it: await it with a Request, get a Response.

    Attributes:
        io: how to wait: `await io.sleep(seconds)`, `io.event()`, `io.now()`.
    """

    io: IO

    def __new__(
        cls, middleware: Callable[..., Awaitable[Response]], following: Send, io: IO, name: str = "call_next"
    ) -> CallNext:
        """Call `middleware` with a request and with `following`, which it takes under `name`."""
        # A partial is called in C: no frame of its own stands between two layers.
        self = super().__new__(cls, middleware, **{name: following})
        self.io = io
        return self

    @classmethod
    def _to(cls, transport: Transport, io: IO) -> CallNext:
        """The end of a chain."""
        self = super().__new__(cls, transport.send)
        self.io = io
        return self

    if TYPE_CHECKING:

        def __call__(self, request: Request) -> Awaitable[Response]: ...

    def __repr__(self) -> str:
        return f"<CallNext of {name_of(self.func)}>"  # partial's shows what is bound, whose repr is anyone's


CacheKey: TypeAlias = tuple[str, str, str]
"""Operation, base URL and token: what two calls must share to share an answer."""

Middleware: TypeAlias = Callable[[Request, CallNext], Awaitable[Response]]
"""Any callable `async (request, call_next) -> response`: a bare `async def`, or an object with `async def __call__`."""

Lookup: TypeAlias = Callable[[CacheKey, float], "Response | None"]
"""`lookup(key, cache_ttl)`: a stored answer younger than `cache_ttl` seconds, or None. It does no I/O."""


class Send(Protocol):
    """Sends a request down the rest of a chain, or from its end. `io` is how to wait."""

    io: IO

    def __call__(self, request: Request) -> Awaitable[Response]: ...


class Transport(Protocol):
    """What sends a request. A blocking transport's coroutines never suspend."""

    async def send(self, request: Request) -> Response:
        """The answer, whatever its status; DoubleOError where none came."""

    async def close(self) -> None:
        """Give back what it holds."""


class Pipeline:
    """A composed chain. `handle(request)` is awaitable. `lookup(key, cache_ttl)` reads the outermost cache without
    running the chain; it is None if the outermost middleware is not a cache."""

    def __init__(self, middleware: Sequence[Middleware], transport: Transport, io: IO, end: Send | None = None) -> None:
        """Compose a chain over a transport; `end` stands in the place of its `send`."""
        for layer in middleware:
            check_middleware(layer)
        self.middleware = tuple(middleware)
        self.transport = transport
        self.io = io
        following: Send = CallNext._to(transport, io) if end is None else end
        for layer in reversed(self.middleware):
            step, name = _step(layer)
            following = CallNext(step, following, io, name)
        self.handle: Callable[[Request], Coroutine[Any, Any, Response]] = following  # type: ignore[assignment]  # check saw that each is a coroutine function
        self.lookup = _lookup(self.middleware)

    def run(self, request: Request) -> Response:
        """Run the whole chain on this thread, without a loop."""
        response = run_sync(self.handle(request))
        if not isinstance(response, Response):
            raise no_response(response, self)
        return response

    def no_loop(self, error: Exception) -> RuntimeError | None:
        """The error to raise where `error` came of there being no event loop; None where it did not. It names the
        middleware."""
        frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
        # Without a running loop, parts of asyncio say so, and others fail on None.
        within = str(frames[-1].f_globals.get("__name__"))
        if "no running event loop" not in str(error) and within.partition(".")[0] != "asyncio":
            return None
        return self._needs_loop([frame.f_code for frame in frames])

    def suspended(self, coroutine: Coroutine[Any, Any, Any]) -> RuntimeError:
        """Close a coroutine that awaits this chain and was suspended. Returns the error to raise, which names the
        middleware."""
        codes = list(_suspended(coroutine))
        coroutine.close()
        return self._needs_loop(codes)

    def _needs_loop(self, codes: Sequence[CodeType]) -> RuntimeError:
        known = {code_of(layer): f"middleware {name_of(layer)}" for layer in self.middleware}
        culprits = [known[code] for code in codes if code in known]
        culprit = culprits[-1] if culprits else f"transport {name_of(self.transport)}"
        return RuntimeError(
            f"{culprit} awaits something that only an event loop can finish, and the blocking Client has none: "
            "wait with `await call_next.io.sleep(seconds)` or `call_next.io.event()`, or use AsyncClient"
        )


def no_response(value: object, pipeline: Pipeline) -> TypeError:
    """The error to raise if a chain returned anything but a Response."""
    layers = " -> ".join(name_of(layer) for layer in pipeline.middleware)
    return TypeError(f"the chain returned {type(value).__name__}, not a Response: is a `return` missing in {layers}?")


def run_sync(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine, or a step of an async generator, that never suspends: a blocking transport's, say."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]  # StopIteration.value is Any
    coroutine.close()
    raise RuntimeError("this needs an event loop: use AsyncClient")


def iterate_sync(generator: AsyncGenerator[T, None]) -> Iterator[T]:
    """An async generator whose awaits never suspend, as a plain one."""
    try:
        while True:
            try:
                item = run_sync(generator.__anext__())
            except StopAsyncIteration:
                return
            yield item
    finally:
        run_sync(generator.aclose())


def name_of(part: object) -> str:
    """How messages name a middleware, plugin or transport."""
    named = part if hasattr(part, "__qualname__") else type(part)
    return f"{named.__module__}.{named.__qualname__}"


def _step(middleware: Middleware) -> tuple[Callable[..., Awaitable[Response]], str]:
    """What to call for a middleware, and the name under which it takes the rest of the chain."""
    # An object's bound method: to call the object would look it up each time.
    step: Any = middleware if inspect.iscoroutinefunction(middleware) else type(middleware).__call__.__get__(middleware)
    parameters = list(inspect.signature(step, follow_wrapped=False).parameters.values())
    if len(parameters) > 1 and parameters[1].kind is inspect.Parameter.POSITIONAL_OR_KEYWORD:
        return step, parameters[1].name
    return lambda request, call_next: step(request, call_next), "call_next"


def _lookup(middleware: Sequence[Middleware]) -> Lookup | None:
    # Outermost layers only: a middleware outside the cache must see every call, also a hit.
    offered: list[Any] = [getattr(layer, "lookup", None) for layer in middleware]
    looks: list[Lookup] = list(takewhile(callable, offered))
    if len(looks) < 2:
        return looks[0] if looks else None

    def first(key: CacheKey, cache_ttl: float) -> Response | None:
        return next(filter(None, (look(key, cache_ttl) for look in looks)), None)

    return first


def check_middleware(middleware: Middleware) -> None:
    """TypeError unless it is a middleware: an async callable of two arguments, and not a class."""
    if isinstance(middleware, type):
        raise TypeError(f"middleware {name_of(middleware)} is a class: pass an object, {middleware.__name__}(...)")
    if not callable(middleware):
        raise TypeError(f"middleware {name_of(middleware)} is not callable: write `async def name(request, call_next)`")
    if not (inspect.iscoroutinefunction(middleware) or inspect.iscoroutinefunction(type(middleware).__call__)):
        raise TypeError(f"middleware {name_of(middleware)} is a plain function: write it with `async def`")
    try:
        inspect.signature(middleware).bind(None, None)
    except TypeError:
        message = f"middleware {name_of(middleware)} must take two arguments: (request, call_next)"
        raise TypeError(message) from None


def code_of(middleware: Any) -> CodeType | None:
    """The code that runs when a middleware is called, as a traceback shows it."""
    function = inspect.unwrap(getattr(middleware, "func", middleware))
    function = function if hasattr(function, "__code__") else type(function).__call__
    return getattr(function, "__code__", None)


def _suspended(coroutine: Any) -> Any:
    while coroutine is not None:
        code = getattr(coroutine, "cr_code", None)
        if code is not None:
            yield code
        coroutine = getattr(coroutine, "cr_await", None)
