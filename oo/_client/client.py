"""Client and AsyncClient: thin shells over the same operations and the same chain."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, overload

from .._core.pipeline import Transport, run_sync
from .._http.request import Request
from .._http.response import JSON, Response
from . import dotenv as _dotenv
from . import operations as _operations
from . import proxied as _proxied
from .base import BaseClient
from .content import Data, Files, Params
from .env_formats import Format
from .streaming import Chunks, Stream

if TYPE_CHECKING:
    from typing_extensions import Self


class Client(BaseClient):
    """The blocking client. Safe to share between threads.

    Example:
        with Client(retries=3) as client:
            secret = client.get_secret(token, cache_ttl=300)
    """

    _blocking = True

    def get_secret(
        self,
        token: str,
        cache_ttl: float | None = None,
        timeout: float | None = None,
        deadline: float | None = None,
    ) -> str:
        """The secret that a token opens. With `cache_ttl`, a stored answer younger than that many seconds is used.
        `timeout` (seconds for each attempt) and `deadline` (seconds for the whole call) override the client's, here
        and in every call. Raises SecretError, AuthenticationError."""
        if cache_ttl is not None and self._lookup is not None:
            try:
                hit = self._lookup(("secret", self.base_url, token), cache_ttl)
            except TypeError:  # a token or TTL of a wrong type, refused below
                hit = None
            if hit is not None:
                return hit.value  # type: ignore[no-any-return]  # parse_secret gave it
        return self._send(_operations.fetch(self._factory.secret, token, cache_ttl, timeout, deadline)).value  # type: ignore[no-any-return]  # as above

    def get_env(
        self,
        token: str,
        cache_ttl: float | None = None,
        timeout: float | None = None,
        deadline: float | None = None,
    ) -> dict[str, str]:
        """The environment that a token opens, as a new dict. `cache_ttl` is as in `get_secret`. Raises EnvError,
        AuthenticationError."""
        return dict(self._send(_operations.fetch(self._factory.env, token, cache_ttl, timeout, deadline)).value)

    def load_env(
        self,
        token: str,
        cache_ttl: float | None = None,
        *,
        allow: Collection[str] = (),
        only: str | Collection[str] | None = None,
        timeout: float | None = None,
        deadline: float | None = None,
    ) -> dict[str, str]:
        """Put an environment into os.environ, all of it or none, and return it.

        `only` names what is taken (`"DB_*"`, or several such patterns); the rest is left. Names that change how
        programs load or where requests go (`PATH`, `LD_*`, `HTTPS_PROXY`, ...) are refused unless `allow` has them.
        Raises EnvError, AuthenticationError.
        """
        env = self.get_env(token, cache_ttl, timeout, deadline)
        return _dotenv.load(env, allow, only)

    def export_env(
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
        """Write an environment to a file (mode 0600, in one step), and return it. Without `overwrite` it is appended.

        `format` says who reads it: "dotenv" (sh, bash and python-dotenv alike), "sh", "node", "json", "docker" or
        "systemd". A value that the format cannot hold exactly is an EnvError. `only` and `allow` are those of
        `load_env`. Raises EnvError, AuthenticationError.
        """
        env = self.get_env(token, cache_ttl, timeout, deadline)
        return _dotenv.export(env, path, overwrite, allow, only, format)

    def proxy(
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
        """Call an API through the gateway and return its JSON (None for an answer without content). `payload` is
        sent as JSON, `{}` too; None sends no body. `data` is sent as it is: bytes, a file opened for reading bytes, an
        iterator of bytes of either kind, sent as it comes; a mapping as a form. `files` (by the name of their field;
        `(name, contents, type)` says more) makes the form a multipart one. `params` join the path's query.
        Raises ProxyError, AuthenticationError."""
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
        return self._send(request).value

    def send(
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
        """As `proxy`, for the whole Response: status, headers, request_id, timeline, body, `json()`. A 2xx and a 304
        are answers; a 401 raises AuthenticationError (ProxyError where it was the API's), any other status ProxyError.
        With `check=False` the last answer is given, whatever its status, once there are no more retries."""
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
        return self._send(request)

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
    ) -> Stream:
        """As `proxy`, for an answer that is read as it comes: `with client.stream(...) as response:`."""
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
        return Stream(request, self._send)

    @overload
    def chat_completion(
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
    def chat_completion(
        self,
        token: str,
        messages: Sequence[Mapping[str, Any]],
        model: str = "gpt-4o-mini",
        *,
        stream: Literal[True],
        timeout: float | None = None,
        deadline: float | None = None,
        **kwargs: Any,
    ) -> Chunks: ...

    @overload
    def chat_completion(
        self,
        token: str,
        messages: Sequence[Mapping[str, Any]],
        model: str = "gpt-4o-mini",
        *,
        stream: bool = False,
        timeout: float | None = None,
        deadline: float | None = None,
        **kwargs: Any,
    ) -> dict[str, Any] | Chunks: ...

    def chat_completion(
        self,
        token: str,
        messages: Sequence[Mapping[str, Any]],
        model: str = "gpt-4o-mini",
        *,
        stream: bool = False,
        timeout: float | None = None,
        deadline: float | None = None,
        **kwargs: Any,
    ) -> dict[str, Any] | Chunks:
        """A chat completion in OpenAI's shape; `kwargs` join the payload. With `stream`, an iterator of its chunks as
        they come. `timeout` is 300 s unless the client has one of its own. Raises ProxyError, AuthenticationError."""
        if stream:
            return Chunks(
                _proxied.chat_stream(self._factory, token, messages, model, kwargs, timeout=timeout, deadline=deadline),
                self._send,
            )
        request = _proxied.chat(self._factory, token, messages, model, kwargs, timeout=timeout, deadline=deadline)
        return self._send(request).value  # type: ignore[no-any-return]  # parse_object gave it

    def embed(
        self,
        token: str,
        texts: Sequence[str],
        model: str = "text-embedding-3-small",
        *,
        timeout: float | None = None,
        deadline: float | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Embeddings of texts, in OpenAI's shape; the rest as in `chat_completion`."""
        request = _proxied.embed(self._factory, token, texts, model, kwargs, timeout=timeout, deadline=deadline)
        return self._send(request).value  # type: ignore[no-any-return]  # as above

    def image(
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
        """Images made from a prompt, in OpenAI's shape; the rest as in `chat_completion`."""
        request = _proxied.image(
            self._factory, token, prompt, model, n, size, kwargs, timeout=timeout, deadline=deadline
        )
        return self._send(request).value  # type: ignore[no-any-return]  # as above

    def health(self, *, timeout: float | None = None, deadline: float | None = None) -> bool:
        """True if the server is up. Raises ProxyError otherwise."""
        return self._send(_operations.health(self._factory, timeout, deadline)).value  # type: ignore[no-any-return]  # parse_health gave it

    def invalidate_cache(self, token: str | None = None) -> None:
        """Forget what was stored for a token, or everything."""
        self._invalidate(token)

    def close(self) -> None:
        """Close the connections. Later calls raise an error. A call under way may end, but sends nothing more."""
        if self._mark_closed():
            run_sync(self._pipeline.transport.close())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _transport(self, **settings: Any) -> Transport:
        from ..transports.requests import RequestsTransport

        return RequestsTransport(**settings)

    def _send(self, request: Request) -> Response:
        call = self._perform(request)
        try:
            call.send(None)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]  # StopIteration.value is Any
        except (RuntimeError, AttributeError) as error:
            if (failure := self._pipeline.no_loop(error)) is None:
                raise
            raise failure from error
        raise self._pipeline.suspended(call)
