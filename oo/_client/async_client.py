"""AsyncClient: the asyncio client."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Collection, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, overload

from .._core.pipeline import Transport
from .._http.response import JSON, Response
from . import dotenv as _dotenv
from . import operations as _operations
from . import proxied as _proxied
from .base import BaseClient
from .content import Data, Files, Params
from .env_formats import Format
from .streaming import AsyncChunks, AsyncStream

if TYPE_CHECKING:
    from typing_extensions import Self


class AsyncClient(BaseClient):
    """The asyncio client: the same calls, awaited. Needs `pip install "double-o[async]"`.

    Example:
        async with AsyncClient(retries=3) as client:
            secret = await client.get_secret(token, cache_ttl=300)
    """

    _blocking = False

    async def get_secret(
        self,
        token: str,
        cache_ttl: float | None = None,
        timeout: float | None = None,
        deadline: float | None = None,
    ) -> str:
        """As `Client.get_secret`."""
        if cache_ttl is not None and self._lookup is not None:
            try:
                hit = self._lookup(("secret", self.base_url, token), cache_ttl)
            except TypeError:  # a token or TTL of a wrong type, refused below
                hit = None
            if hit is not None:
                return hit.value  # type: ignore[no-any-return]  # parse_secret gave it
        return (await self._perform(_operations.fetch(self._factory.secret, token, cache_ttl, timeout, deadline))).value  # type: ignore[no-any-return]  # as above

    async def get_env(
        self,
        token: str,
        cache_ttl: float | None = None,
        timeout: float | None = None,
        deadline: float | None = None,
    ) -> dict[str, str]:
        """As `Client.get_env`."""
        return dict(
            (await self._perform(_operations.fetch(self._factory.env, token, cache_ttl, timeout, deadline))).value
        )

    async def load_env(
        self,
        token: str,
        cache_ttl: float | None = None,
        *,
        allow: Collection[str] = (),
        only: str | Collection[str] | None = None,
        timeout: float | None = None,
        deadline: float | None = None,
    ) -> dict[str, str]:
        """As `Client.load_env`."""
        env = await self.get_env(token, cache_ttl, timeout, deadline)
        return _dotenv.load(env, allow, only)

    async def export_env(
        self,
        token: str,
        path: str | os.PathLike[str] = ".env",
        overwrite: bool = True,
        cache_ttl: float | None = None,
        *,
        allow: Collection[str] = (),
        only: str | Collection[str] | None = None,
        format: Format = "dotenv",  # noqa: A002  # what it is
        timeout: float | None = None,
        deadline: float | None = None,
    ) -> dict[str, str]:
        """As `Client.export_env`; the file is written on a thread."""
        env = await self.get_env(token, cache_ttl, timeout, deadline)
        return await asyncio.to_thread(_dotenv.export, env, path, overwrite, allow, only, format)

    async def proxy(
        self,
        path: str,
        token: str,
        method: str = "POST",
        payload: JSON = None,
        headers: Mapping[str, str] | None = None,
        *,
        data: Data | None = None,
        files: Files | None = None,
        params: Params | None = None,
        timeout: float | None = None,
        deadline: float | None = None,
    ) -> JSON:
        """As `Client.proxy`."""
        request = _proxied.proxy(
            self._factory,
            path,
            token,
            method,
            payload,
            headers,
            data=data,
            files=files,
            params=params,
            timeout=timeout,
            deadline=deadline,
        )
        return (await self._perform(request)).value

    async def send(
        self,
        path: str,
        token: str,
        method: str = "POST",
        payload: JSON = None,
        headers: Mapping[str, str] | None = None,
        *,
        data: Data | None = None,
        files: Files | None = None,
        params: Params | None = None,
        timeout: float | None = None,
        deadline: float | None = None,
        check: bool = True,
    ) -> Response:
        """As `Client.send`."""
        request = _proxied.send(
            self._factory,
            path,
            token,
            method,
            payload,
            headers,
            data=data,
            files=files,
            params=params,
            timeout=timeout,
            deadline=deadline,
            check=check,
        )
        return await self._perform(request)

    def stream(
        self,
        path: str,
        token: str,
        method: str = "POST",
        payload: JSON = None,
        headers: Mapping[str, str] | None = None,
        *,
        data: Data | None = None,
        files: Files | None = None,
        params: Params | None = None,
        timeout: float | None = None,
        deadline: float | None = None,
    ) -> AsyncStream:
        """As `Client.stream`: `async with client.stream(...) as response:`."""
        request = _proxied.stream(
            self._factory,
            path,
            token,
            method,
            payload,
            headers=headers,
            data=data,
            files=files,
            params=params,
            timeout=timeout,
            deadline=deadline,
        )
        return AsyncStream(request, self._perform)

    @overload
    async def chat_completion(
        self,
        token: str,
        messages: Sequence[Mapping[str, Any]],
        model: str = "gpt-4o-mini",
        *,
        stream: Literal[False] = False,
        timeout: float | None = None,
        deadline: float | None = None,
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
        timeout: float | None = None,
        deadline: float | None = None,
        **kwargs: Any,
    ) -> AsyncChunks: ...

    @overload
    async def chat_completion(
        self,
        token: str,
        messages: Sequence[Mapping[str, Any]],
        model: str = "gpt-4o-mini",
        *,
        stream: bool = False,
        timeout: float | None = None,
        deadline: float | None = None,
        **kwargs: Any,
    ) -> dict[str, Any] | AsyncChunks: ...

    async def chat_completion(
        self,
        token: str,
        messages: Sequence[Mapping[str, Any]],
        model: str = "gpt-4o-mini",
        *,
        stream: bool = False,
        timeout: float | None = None,
        deadline: float | None = None,
        **kwargs: Any,
    ) -> dict[str, Any] | AsyncChunks:
        """As `Client.chat_completion`; with `stream`, an async iterator of the chunks."""
        if stream:
            chunks = AsyncChunks(
                _proxied.chat_stream(self._factory, token, messages, model, kwargs, timeout=timeout, deadline=deadline),
                self._perform,
            )
            return await chunks.__aenter__()
        request = _proxied.chat(self._factory, token, messages, model, kwargs, timeout=timeout, deadline=deadline)
        return (await self._perform(request)).value  # type: ignore[no-any-return]  # parse_object gave it

    async def embed(
        self,
        token: str,
        texts: Sequence[str],
        model: str = "text-embedding-3-small",
        *,
        timeout: float | None = None,
        deadline: float | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """As `Client.embed`."""
        request = _proxied.embed(self._factory, token, texts, model, kwargs, timeout=timeout, deadline=deadline)
        return (await self._perform(request)).value  # type: ignore[no-any-return]  # as above

    async def image(
        self,
        token: str,
        prompt: str,
        model: str = "dall-e-3",
        n: int = 1,
        size: str = "1024x1024",
        *,
        timeout: float | None = None,
        deadline: float | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """As `Client.image`."""
        request = _proxied.image(
            self._factory, token, prompt, model, n, size, kwargs, timeout=timeout, deadline=deadline
        )
        return (await self._perform(request)).value  # type: ignore[no-any-return]  # as above

    async def health(self, *, timeout: float | None = None, deadline: float | None = None) -> bool:
        """As `Client.health`."""
        return (await self._perform(_operations.health(self._factory, timeout, deadline))).value  # type: ignore[no-any-return]  # parse_health gave it

    async def invalidate_cache(self, token: str | None = None) -> None:
        """As `Client.invalidate_cache`."""
        self._invalidate(token)

    async def close(self) -> None:
        """Close the connections of this loop, those of calls under way as well. A call after that is an error."""
        if self._mark_closed():
            await self._pipeline.transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def _transport(self, **settings: Any) -> Transport:
        try:
            from ..transports.aiohttp import AiohttpTransport
        except ModuleNotFoundError as error:
            if error.name != "aiohttp":
                raise
            raise ImportError('AsyncClient needs aiohttp: pip install "double-o[async]"') from error
        return AiohttpTransport(**settings)
