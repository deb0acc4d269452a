"""Where 0.2 had its client: `from oo.client import Client`. All of it is in `oo`."""

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
)
from ._client.client import Client
from .middleware import SecretCache

__all__ = [
    "Client",
    "SecretCache",
    "chat",
    "embed",
    "export_env",
    "get_env",
    "get_secret",
    "health",
    "image",
    "invalidate_cache",
    "load_env",
    "proxy",
]
