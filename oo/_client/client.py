"""Client and AsyncClient: thin shells over the same operations and the same chain."""

from __future__ import annotations

import asyncio
import os
import warnings
from collections.abc import Collection, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, overload

from .. import _plugins
from .._core.io import IO, BlockingIO, LoopIO
from .._core.pipeline import Middleware, Pipeline, Transport, answer, finish
from .._core.validation import check_seconds, check_whole
from .._http.request import JSON, Request, Response
from .._http.urls import base_url as checked_base_url
from .._http.urls import is_loopback
from ..exceptions import ERROR_OF
from ..hooks import ClientInfo
from ..middleware import SecretCache, default_middleware, shared_cache
from ..middleware.error_mapping import failure_of, settled
from . import dotenv as _dotenv
from . import operations as _operations
from .operations import Target
from .streaming import AsyncChunks, AsyncStream, Chunks, Stream

if TYPE_CHECKING:
    from typing_extensions import Self

DEFAULT_BASE_URL = "http://localhost:3001"
_warned: set[str] = set()


class _Shell:
    """What the two clients share: how one is made, and the ends of a call."""

    _blocking: bool

    def __init__(
        self,
        base_url: str | None = None,
        timeout: float = 30,
        retries: int = 0,
        backoff_factor: float = 0.5,
        *,
        deadline: float | None = None,
        middleware: Sequence[Middleware] | None = None,
        plugins: bool = True,
        cache: SecretCache | None = None,
        logging: bool = False,
        transport: Transport | None = None,
        max_response_bytes: int = 64 << 20,
    ) -> None:
        """Make a client. ValueError or TypeError names an argument that cannot be.

        Args:
            base_url: the server; None for `OO_BASE_URL`, else http://localhost:3001.
            timeout: seconds for one attempt, from connecting to the body's last byte.
            retries: how often a failed call is tried again.
            backoff_factor: seconds before the first retry, doubled for each further one.
            deadline: seconds for a whole call, its attempts and waits together; None for no such bound.
            middleware: the exact chain to use, outermost first; None for the default one with plugins.
            plugins: whether the default chain takes plugins in.
            cache: the store of the default chain; None for the one that the process shares.
            logging: whether the default chain logs each call to the logger `oo`.
            max_response_bytes: the most that an answer may hold once decompressed; a secret or an environment never
                more than 1 MiB. Of a stream it bounds one line and one event.
            transport: what sends; None for requests in `Client`, aiohttp in `AsyncClient`.
        """
        self.base_url = checked_base_url(resolve_base_url(base_url))
        check_seconds("timeout", timeout)
        check_seconds("deadline", deadline, none=True)
        check_whole("retries", retries, 0)
        self.timeout = timeout
        self.retries = retries
        self.backoff_factor = backoff_factor
        if middleware is None:
            chain = default_middleware(retries=retries, backoff_factor=backoff_factor, logging=logging, cache=cache)
            if plugins:
                info = ClientInfo(self.base_url, self._blocking, retries)
                chain = _plugins.with_plugins(chain, _plugins.plugins.middleware(info))
        elif retries or backoff_factor != 0.5 or logging or cache is not None:
            raise ValueError(
                "retries, backoff_factor, logging and cache shape the default chain: give them to default_middleware()"
            )
        else:
            chain = list(middleware)
        self._store = shared_cache() if cache is None else cache
        check_whole("max_response_bytes", max_response_bytes, 1)
        self._target = Target(self.base_url, timeout, deadline, max_response_bytes)
        transport = self._transport() if transport is None else transport
        io: IO = getattr(transport, "io", None) or (BlockingIO() if self._blocking else LoopIO())
        self._pipeline = Pipeline(chain, transport, io)
        self._recall = self._pipeline.recall
        self._closed = False
        _warn_of_plain_http(self.base_url)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.base_url}>"

    def _transport(self) -> Transport:
        raise NotImplementedError

    def _begin(self, request: Request) -> Request:
        if self._closed:
            raise ERROR_OF[request.operation]("this client is closed; make a new one", reason="closed")
        if self._target.deadline is not None:
            request.deadline = self._pipeline.io.now() + self._target.deadline
        return request

    def _forget(self, token: str | None) -> None:
        stores = {id(self._store): self._store}
        for middleware in self._pipeline.middleware:
            store = getattr(middleware, "store", None)
            if isinstance(store, SecretCache):
                stores[id(store)] = store
        for store in stores.values():
            store.clear() if token is None else store.invalidate(token)

    def _shut(self) -> bool:
        """Whether it was open until now."""
        was_open, self._closed, self._recall = not self._closed, True, None
        self._pipeline.shut()
        return was_open


class Client(_Shell):
    """The blocking client. Safe to share between threads.

    Example:
        with Client(retries=3) as client:
            secret = client.get_secret(token, cache_ttl=300)
    """

    _blocking = True

    def get_secret(self, token: str, cache_ttl: float | None = None) -> str:
        """The secret that a token opens; with `cache_ttl`, an answer younger than that many seconds serves.
        Raises SecretError, AuthenticationError."""
        if cache_ttl is not None and self._recall is not None:
            try:
                hit = self._recall(("secret", self.base_url, token), cache_ttl)
            except TypeError:  # a token or TTL of a wrong type, refused below
                hit = None
            if hit is not None:
                return hit.value  # type: ignore[no-any-return]  # read_secret gave it
        return self._call(_operations.secret(self._target, token, cache_ttl))  # type: ignore[no-any-return]  # as above

    def get_env(self, token: str, cache_ttl: float | None = None) -> dict[str, str]:
        """The environment that a token opens, a dict of the caller's own; `cache_ttl` as in `get_secret`.
        Raises EnvError, AuthenticationError."""
        return dict(self._call(_operations.env(self._target, token, cache_ttl)))

    def load_env(self, token: str, cache_ttl: float | None = None, *, allow: Collection[str] = ()) -> dict[str, str]:
        """Put an environment into os.environ, all of it or none, and return it. Names that change how programs load
        (`PATH`, `LD_*`, `PYTHON*`, ...) are refused unless `allow` has them. Raises EnvError, AuthenticationError."""
        env = self.get_env(token, cache_ttl)
        _dotenv.load(env, allow)
        return env

    def export_env(
        self,
        token: str,
        path: str | os.PathLike[str] = ".env",
        overwrite: bool = True,
        cache_ttl: float | None = None,
        *,
        allow: Collection[str] = (),
    ) -> dict[str, str]:
        """Write an environment to a file (mode 0600, in one step) that sh, bash and python-dotenv read alike, and
        return it. Without `overwrite` it is appended. Raises EnvError, AuthenticationError."""
        env = self.get_env(token, cache_ttl)
        _dotenv.export(env, path, overwrite, allow)
        return env

    def proxy(
        self,
        path: str,
        token: str,
        method: str = "POST",
        payload: JSON = None,
        headers: Mapping[str, str] | None = None,
    ) -> JSON:
        """Call an API through the gateway and return its JSON (None for an answer without content). `payload` is
        sent as JSON, `{}` too; None sends no body. Raises ProxyError, AuthenticationError."""
        return self._call(_operations.proxy(self._target, path, token, method, payload, headers))

    def send(
        self,
        path: str,
        token: str,
        method: str = "POST",
        payload: JSON = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """As `proxy`, for the whole Response: status, headers, request_id, timeline, body, `json()`."""
        return self._send(_operations.send(self._target, path, token, method, payload, headers))

    def stream(
        self,
        path: str,
        token: str,
        method: str = "POST",
        payload: JSON = None,
        headers: Mapping[str, str] | None = None,
    ) -> Stream:
        """As `proxy`, for an answer that is read as it comes: `with client.stream(...) as response:`."""
        return Stream(_operations.stream(self._target, path, token, method, payload, headers), self._send)

    @overload
    def chat_completion(
        self,
        token: str,
        messages: Sequence[Mapping[str, Any]],
        model: str = "gpt-4o-mini",
        *,
        stream: Literal[False] = False,
        **kwargs: Any,
    ) -> dict[str, Any]: ...

    @overload
    def chat_completion(
        self,
        token: str,
        messages: Sequence[Mapping[str, Any]],
        model: str = "gpt-4o-mini",
        *,
        stream: Literal[True],
        **kwargs: Any,
    ) -> Chunks: ...

    def chat_completion(
        self,
        token: str,
        messages: Sequence[Mapping[str, Any]],
        model: str = "gpt-4o-mini",
        *,
        stream: bool = False,
        **kwargs: Any,
    ) -> dict[str, Any] | Chunks:
        """A chat completion in OpenAI's shape; `kwargs` join the payload. With `stream`, an iterator of its chunks as
        they come. Raises ProxyError, AuthenticationError."""
        if stream:
            return Chunks(_operations.chat_stream(self._target, token, messages, model, kwargs), self._send)
        return self._call(_operations.chat(self._target, token, messages, model, kwargs))  # type: ignore[no-any-return]  # read_object gave it

    def embed(
        self, token: str, texts: Sequence[str], model: str = "text-embedding-3-small", **kwargs: Any
    ) -> dict[str, Any]:
        """Embeddings of texts, in OpenAI's shape; the rest as in `chat_completion`."""
        return self._call(_operations.embed(self._target, token, texts, model, kwargs))  # type: ignore[no-any-return]  # as above

    def image(
        self,
        token: str,
        prompt: str,
        model: str = "dall-e-3",
        n: int = 1,
        size: str = "1024x1024",
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Images made from a prompt, in OpenAI's shape; the rest as in `chat_completion`."""
        return self._call(_operations.image(self._target, token, prompt, model, n, size, kwargs))  # type: ignore[no-any-return]  # as above

    def health(self) -> bool:
        """True where the server is up; else ProxyError."""
        return self._call(_operations.health(self._target))  # type: ignore[no-any-return]  # read_health gave it

    def invalidate_cache(self, token: str | None = None) -> None:
        """Forget what was stored for a token, or everything."""
        self._forget(token)

    def close(self) -> None:
        """Close the connections. A call after that is an error; one under way may end, and sends nothing more."""
        if self._shut():
            finish(self._pipeline.transport.close())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _transport(self) -> Transport:
        from ..transports.requests import RequestsTransport

        return RequestsTransport()

    def _call(self, request: Request) -> Any:
        return self._send(request).value

    def _send(self, request: Request) -> Response:
        try:
            response = self._pipeline.run(self._begin(request))
            if response.stream is not None:
                response = finish(settled(response))
            response.read()
            return response
        except Exception as error:
            failure = failure_of(error, request)
            if failure is None:
                raise
        raise failure


class AsyncClient(_Shell):
    """The asyncio client: the same calls, awaited. Needs `pip install "double-o[async]"`.

    Example:
        async with AsyncClient(retries=3) as client:
            secret = await client.get_secret(token, cache_ttl=300)
    """

    _blocking = False

    async def get_secret(self, token: str, cache_ttl: float | None = None) -> str:
        """As `Client.get_secret`."""
        if cache_ttl is not None and self._recall is not None:
            try:
                hit = self._recall(("secret", self.base_url, token), cache_ttl)
            except TypeError:  # a token or TTL of a wrong type, refused below
                hit = None
            if hit is not None:
                return hit.value  # type: ignore[no-any-return]  # read_secret gave it
        return await self._call(_operations.secret(self._target, token, cache_ttl))  # type: ignore[no-any-return]  # as above

    async def get_env(self, token: str, cache_ttl: float | None = None) -> dict[str, str]:
        """As `Client.get_env`."""
        return dict(await self._call(_operations.env(self._target, token, cache_ttl)))

    async def load_env(
        self, token: str, cache_ttl: float | None = None, *, allow: Collection[str] = ()
    ) -> dict[str, str]:
        """As `Client.load_env`."""
        env = await self.get_env(token, cache_ttl)
        _dotenv.load(env, allow)
        return env

    async def export_env(
        self,
        token: str,
        path: str | os.PathLike[str] = ".env",
        overwrite: bool = True,
        cache_ttl: float | None = None,
        *,
        allow: Collection[str] = (),
    ) -> dict[str, str]:
        """As `Client.export_env`; the file is written on a thread."""
        env = await self.get_env(token, cache_ttl)
        await asyncio.to_thread(_dotenv.export, env, path, overwrite, allow)
        return env

    async def proxy(
        self,
        path: str,
        token: str,
        method: str = "POST",
        payload: JSON = None,
        headers: Mapping[str, str] | None = None,
    ) -> JSON:
        """As `Client.proxy`."""
        return await self._call(_operations.proxy(self._target, path, token, method, payload, headers))

    async def send(
        self,
        path: str,
        token: str,
        method: str = "POST",
        payload: JSON = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """As `Client.send`."""
        return await self._send(_operations.send(self._target, path, token, method, payload, headers))

    def stream(
        self,
        path: str,
        token: str,
        method: str = "POST",
        payload: JSON = None,
        headers: Mapping[str, str] | None = None,
    ) -> AsyncStream:
        """As `Client.stream`: `async with client.stream(...) as response:`."""
        return AsyncStream(_operations.stream(self._target, path, token, method, payload, headers), self._send)

    @overload
    async def chat_completion(
        self,
        token: str,
        messages: Sequence[Mapping[str, Any]],
        model: str = "gpt-4o-mini",
        *,
        stream: Literal[False] = False,
        **kwargs: Any,
    ) -> dict[str, Any]: ...

    @overload
    async def chat_completion(
        self,
        token: str,
        messages: Sequence[Mapping[str, Any]],
        model: str = "gpt-4o-mini",
        *,
        stream: Literal[True],
        **kwargs: Any,
    ) -> AsyncChunks: ...

    async def chat_completion(
        self,
        token: str,
        messages: Sequence[Mapping[str, Any]],
        model: str = "gpt-4o-mini",
        *,
        stream: bool = False,
        **kwargs: Any,
    ) -> dict[str, Any] | AsyncChunks:
        """As `Client.chat_completion`; with `stream`, an async iterator of the chunks."""
        if stream:
            chunks = AsyncChunks(_operations.chat_stream(self._target, token, messages, model, kwargs), self._send)
            return await chunks.__aenter__()
        return await self._call(_operations.chat(self._target, token, messages, model, kwargs))  # type: ignore[no-any-return]  # read_object gave it

    async def embed(
        self, token: str, texts: Sequence[str], model: str = "text-embedding-3-small", **kwargs: Any
    ) -> dict[str, Any]:
        """As `Client.embed`."""
        return await self._call(_operations.embed(self._target, token, texts, model, kwargs))  # type: ignore[no-any-return]  # as above

    async def image(
        self,
        token: str,
        prompt: str,
        model: str = "dall-e-3",
        n: int = 1,
        size: str = "1024x1024",
        **kwargs: Any,
    ) -> dict[str, Any]:
        """As `Client.image`."""
        return await self._call(_operations.image(self._target, token, prompt, model, n, size, kwargs))  # type: ignore[no-any-return]  # as above

    async def health(self) -> bool:
        """As `Client.health`."""
        return await self._call(_operations.health(self._target))  # type: ignore[no-any-return]  # read_health gave it

    async def invalidate_cache(self, token: str | None = None) -> None:
        """As `Client.invalidate_cache`."""
        self._forget(token)

    async def close(self) -> None:
        """Close the connections of this loop, those of calls under way as well. A call after that is an error."""
        if self._shut():
            await self._pipeline.transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def _transport(self) -> Transport:
        try:
            from ..transports.aiohttp import AiohttpTransport
        except ModuleNotFoundError as error:
            if error.name != "aiohttp":
                raise
            raise ImportError('AsyncClient needs aiohttp: pip install "double-o[async]"') from error
        return AiohttpTransport()

    async def _call(self, request: Request) -> Any:
        return (await self._send(request)).value

    async def _send(self, request: Request) -> Response:
        try:
            response = answer(await self._pipeline.handle(self._begin(request)), self._pipeline)
            if response.stream is not None:
                response = await settled(response)
            response.read()
            return response
        except Exception as error:
            failure = failure_of(error, request)
            if failure is None:
                raise
        raise failure


def resolve_base_url(base_url: str | None) -> str:
    """The argument, else `OO_BASE_URL`, else where `oo serve` listens."""
    return os.environ.get("OO_BASE_URL") or DEFAULT_BASE_URL if base_url is None else base_url


def _warn_of_plain_http(base_url: str) -> None:
    if base_url.startswith("http:") and not is_loopback(base_url) and base_url not in _warned:
        _warned.add(base_url)
        text = f"{base_url} is plain http: whoever is on the way can read the token and the secret; use https"
        warnings.warn(text, UserWarning, stacklevel=_plugins.outside())
