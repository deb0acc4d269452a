"""oo.get_secret and friends: the calls of a Client, over one client for each base URL."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal, overload

from .._http.response import JSON
from .._plugins import plugins
from ..exceptions import Operation
from ..middleware import shared_cache
from .client import Client
from .content import Data, Files, Params
from .env_formats import Format
from .operations import refused
from .streaming import Chunks

_MOST = 64  # clients kept; the one made first goes first, its connections with it
_clients: dict[str | None, Client] = {}


def get_secret(
    token: str,
    base_url: str | None = None,
    cache_ttl: float | None = None,
    timeout: float | None = None,
    deadline: float | None = None,
) -> str:
    """The secret that a token opens.

    With `cache_ttl`, an answer younger than that many seconds serves. `timeout` (seconds for an attempt) and `deadline`
    (for the whole call) bound it, here and in every call. Raises SecretError, AuthenticationError.

    Example:
        key = oo.get_secret(token, cache_ttl=300)
    """
    return _client(base_url, "secret").get_secret(token, cache_ttl, timeout, deadline)


def get_env(
    token: str,
    base_url: str | None = None,
    cache_ttl: float | None = None,
    timeout: float | None = None,
    deadline: float | None = None,
) -> dict[str, str]:
    """The environment that a token opens, as a dict. Raises EnvError, AuthenticationError."""
    return _client(base_url, "env").get_env(token, cache_ttl, timeout, deadline)


def load_env(
    token: str,
    base_url: str | None = None,
    cache_ttl: float | None = None,
    *,
    allow: Collection[str] = (),
    only: str | Collection[str] | None = None,
    timeout: float | None = None,
    deadline: float | None = None,
) -> dict[str, str]:
    """Put an environment into os.environ, all of it or none, and return it. See `Client.load_env`."""
    return _client(base_url, "env").load_env(
        token, cache_ttl, allow=allow, only=only, timeout=timeout, deadline=deadline
    )


def export_env(
    token: str,
    path: str | os.PathLike[str] = ".env",
    overwrite: bool = True,
    base_url: str | None = None,
    cache_ttl: float | None = None,
    *,
    allow: Collection[str] = (),
    only: str | Collection[str] | None = None,
    format: Format = "dotenv",  # noqa: A002  # what it is
    timeout: float | None = None,
    deadline: float | None = None,
) -> dict[str, str]:
    """Write an environment to a file that only its owner can read, and return it. See `Client.export_env`."""
    return _client(base_url, "env").export_env(
        token,
        path,
        overwrite,
        cache_ttl,
        allow=allow,
        only=only,
        format=format,
        timeout=timeout,
        deadline=deadline,
    )


def proxy(
    path: str,
    token: str,
    method: str = "POST",
    payload: JSON = None,
    headers: Mapping[str, str] | None = None,
    base_url: str | None = None,
    *,
    data: Data | None = None,
    files: Files | None = None,
    params: Params | None = None,
    timeout: float | None = None,
    deadline: float | None = None,
) -> JSON:
    """Call an API through the gateway and return its JSON. The arguments are those of `Client.proxy`.
    Raises ProxyError, AuthenticationError.

    Example:
        models = oo.proxy("v1/models?limit=5", token, method="GET")
    """
    return _client(base_url, "proxy").proxy(
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


@overload
def chat(
    token: str,
    messages: Sequence[Mapping[str, Any]],
    model: str = "gpt-4o-mini",
    base_url: str | None = None,
    *,
    stream: Literal[False] = False,
    timeout: float | None = None,
    deadline: float | None = None,
    **kwargs: Any,
) -> dict[str, Any]: ...


@overload
def chat(
    token: str,
    messages: Sequence[Mapping[str, Any]],
    model: str = "gpt-4o-mini",
    base_url: str | None = None,
    *,
    stream: Literal[True],
    timeout: float | None = None,
    deadline: float | None = None,
    **kwargs: Any,
) -> Chunks: ...


@overload
def chat(
    token: str,
    messages: Sequence[Mapping[str, Any]],
    model: str = "gpt-4o-mini",
    base_url: str | None = None,
    *,
    stream: bool = False,
    timeout: float | None = None,
    deadline: float | None = None,
    **kwargs: Any,
) -> dict[str, Any] | Chunks: ...


def chat(
    token: str,
    messages: Sequence[Mapping[str, Any]],
    model: str = "gpt-4o-mini",
    base_url: str | None = None,
    *,
    stream: bool = False,
    timeout: float | None = None,
    deadline: float | None = None,
    **kwargs: Any,
) -> dict[str, Any] | Chunks:
    """A chat completion in OpenAI's shape; `kwargs` join the payload. With `stream`, an iterator of its chunks as they
    come. Raises ProxyError, AuthenticationError.

    Example:
        for chunk in oo.chat(token, messages, stream=True):
            for choice in chunk["choices"]:
                print(choice["delta"].get("content") or "", end="", flush=True)
    """
    client = _client(base_url, "proxy")
    return client.chat_completion(token, messages, model, stream=stream, timeout=timeout, deadline=deadline, **kwargs)


def embed(
    token: str,
    texts: Sequence[str],
    model: str = "text-embedding-3-small",
    base_url: str | None = None,
    *,
    timeout: float | None = None,
    deadline: float | None = None,
    **kwargs: Any,
) -> dict[str, Any]:
    """Embeddings of texts, in OpenAI's shape. Raises ProxyError, AuthenticationError."""
    return _client(base_url, "proxy").embed(token, texts, model, timeout=timeout, deadline=deadline, **kwargs)


def image(
    token: str,
    prompt: str,
    model: str = "dall-e-3",
    n: int = 1,
    size: str = "1024x1024",
    base_url: str | None = None,
    *,
    timeout: float | None = None,
    deadline: float | None = None,
    **kwargs: Any,
) -> dict[str, Any]:
    """Images made from a prompt, in OpenAI's shape. Raises ProxyError, AuthenticationError."""
    return _client(base_url, "proxy").image(token, prompt, model, n, size, timeout=timeout, deadline=deadline, **kwargs)


def health(base_url: str | None = None, *, timeout: float | None = None, deadline: float | None = None) -> bool:
    """True where the server is up; else ProxyError."""
    return _client(base_url, "health").health(timeout=timeout, deadline=deadline)


def invalidate_cache(token: str | None = None) -> None:
    """Forget what the default chains of this process have stored, for a token or altogether."""
    if token is None:
        shared_cache().clear()
    else:
        shared_cache().invalidate(token)


def register(plugin: object, name: str | None = None) -> str:
    """Add a plugin by hand, for the clients made from now on and for the functions of `oo`; gives its name.
    ValueError where it is there already or has no `oo_middleware` hook."""
    name = plugins.register(plugin, name)
    forget_clients()
    return name


def unregister(name: str) -> None:
    """Take out a plugin that `register` added. ValueError where there is none of that name."""
    plugins.unregister(name)
    forget_clients()


def forget_clients() -> None:
    """Let the functions of `oo` begin with new clients."""
    global _clients
    _clients = {}


def _client(base_url: str | None, operation: Operation) -> Client:
    url = os.environ.get("OO_BASE_URL") or None if base_url is None else base_url
    try:
        return _clients[url]
    except (KeyError, TypeError):
        pass
    try:
        return _made(url)
    except (TypeError, ValueError) as error:
        why = str(error)
    raise refused(operation, why)


def _made(url: str | None) -> Client:
    # Without a lock, because making a client runs plugins, which may use the functions of `oo`. If a plugin is
    # registered meanwhile, this client lacks it; but by then it goes into a dict that is not used any more.
    clients = _clients
    client = clients.setdefault(url, Client(url))
    for oldest in list(clients)[:-_MOST]:
        clients.pop(oldest, None)
    return client
