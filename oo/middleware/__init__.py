"""The middlewares that a client comes with."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .auth import BearerAuth
    from .cache import Cache
    from .default import default_middleware, shared_cache
    from .error_mapping import ErrorMapping
    from .log import Logging
    from .metrics import Metrics
    from .retry import Retry
    from .secret_cache import SecretCache
    from .tracing import Tracing

_HOME = {
    "BearerAuth": "auth",
    "Cache": "cache",
    "ErrorMapping": "error_mapping",
    "Logging": "log",
    "Metrics": "metrics",
    "Retry": "retry",
    "SecretCache": "secret_cache",
    "Tracing": "tracing",
    "default_middleware": "default",
    "shared_cache": "default",
}

__all__ = [
    "BearerAuth",
    "Cache",
    "ErrorMapping",
    "Logging",
    "Metrics",
    "Retry",
    "SecretCache",
    "Tracing",
    "default_middleware",
    "shared_cache",
]


def __getattr__(name: str) -> object:
    # As in `oo`: a gateway needs one of them.
    from importlib import import_module

    if name in _HOME.values():  # a file, which whoever has imported this alone may name too
        return import_module(f".{name}", __name__)
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
