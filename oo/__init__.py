"""Double-O: one token in, one secret or one API call out.

    import oo

    secret = oo.get_secret("YOUR_TOKEN")
    answer = oo.proxy("v1/chat/completions", "YOUR_TOKEN", payload={...})

Every call passes through one chain of middleware, the same for `Client` and `AsyncClient`.
"""

from __future__ import annotations

from ._version import __version__

TYPE_CHECKING = False  # true to type checkers, without loading typing; under a plain False, Jedi sees no names

if TYPE_CHECKING:
    from ._client.api import (
        chat,
        embed,
        export_env,
        get_env,
        get_secret,
        health,
        image,
        invalidate_cache,
        load_env,
        proxy,
        register,
        unregister,
    )
    from ._client.async_client import AsyncClient
    from ._client.client import Client
    from ._client.streaming import AsyncChunks, AsyncStream, Chunks, Stream
    from ._core.io import IO
    from ._core.pipeline import CallNext, Middleware, Transport
    from ._http.body import Body
    from ._http.context import Context
    from ._http.headers import Headers
    from ._http.request import Request
    from ._http.response import Response
    from ._http.sse import ServerEvent
    from .exceptions import AuthenticationError, DoubleOError, EnvError, ProxyError, SecretError
    from .hooks import ClientInfo, Slot, hookimpl
    from .middleware import (
        BearerAuth,
        Cache,
        ErrorMapping,
        Logging,
        Metrics,
        Retry,
        SecretCache,
        Tracing,
        default_middleware,
    )

_HOMES = {
    "._client.async_client": "AsyncClient",
    "._client.client": "Client",
    "._client.api": "chat embed export_env get_env get_secret health image invalidate_cache load_env proxy register "
    "unregister",
    "._client.streaming": "AsyncChunks AsyncStream Chunks Stream",
    "._core.io": "IO",
    "._http.body": "Body",
    "._http.context": "Context",
    "._http.headers": "Headers",
    "._http.request": "Request",
    "._http.response": "Response",
    "._http.sse": "ServerEvent",
    "._core.pipeline": "CallNext Middleware Transport",
    ".exceptions": "AuthenticationError DoubleOError EnvError ProxyError SecretError",
    ".hooks": "ClientInfo Slot hookimpl",
    ".middleware": "BearerAuth Cache ErrorMapping Logging Metrics Retry SecretCache Tracing default_middleware",
}
_HOME = {name: module for module, names in _HOMES.items() for name in names.split()}

__all__ = [
    "AsyncChunks",
    "AsyncClient",
    "AsyncStream",
    "AuthenticationError",
    "BearerAuth",
    "Body",
    "Cache",
    "CallNext",
    "Chunks",
    "Client",
    "ClientInfo",
    "Context",
    "DoubleOError",
    "EnvError",
    "ErrorMapping",
    "Headers",
    "IO",
    "Logging",
    "Metrics",
    "Middleware",
    "ProxyError",
    "Request",
    "Response",
    "Retry",
    "SecretCache",
    "SecretError",
    "ServerEvent",
    "Slot",
    "Stream",
    "Tracing",
    "Transport",
    "__version__",
    "chat",
    "default_middleware",
    "embed",
    "export_env",
    "get_env",
    "get_secret",
    "health",
    "hookimpl",
    "image",
    "invalidate_cache",
    "load_env",
    "proxy",
    "register",
    "unregister",
]


def __getattr__(name: str) -> object:
    # PEP 562: `import oo` loads nothing but this file; a name brings its module when it is first asked for.
    if name not in _HOME:
        raise AttributeError(f"module 'oo' has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(_HOME[name], __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
