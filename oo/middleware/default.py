"""The chain of a client that is not told another."""

from __future__ import annotations

from .._core.pipeline import Middleware
from .._core.slots import Slot, compose
from .auth import BearerAuth
from .cache import Cache
from .error_mapping import ErrorMapping
from .log import Logging
from .retry import Retry
from .secret_cache import SecretCache

_shared = SecretCache()


def shared_cache() -> SecretCache:
    """The one store of every default stack in this process, blocking and async."""
    return _shared


def default_chain(
    *,
    retries: int = 0,
    backoff_factor: float = 0.5,
    logging: bool = False,
    cache: SecretCache | None = None,
) -> list[Middleware | Slot]:
    """The default chain of a client, outermost first, with the slots of plugins in their places."""
    chain: list[Middleware | Slot] = [
        Slot.CALL,
        Cache(shared_cache() if cache is None else cache),
        Slot.FETCH,
        Retry(retries, backoff_factor),
        Slot.ATTEMPT,
        ErrorMapping(),
        BearerAuth(),
        Slot.WIRE,
    ]
    return [Logging(), *chain] if logging else chain


def default_middleware(
    *,
    retries: int = 0,
    backoff_factor: float = 0.5,
    logging: bool = False,
    cache: SecretCache | None = None,
) -> list[Middleware]:
    """The default chain, outermost first, as a list to edit and pass on as `Client(middleware=...)`.

    `cache` is the store to use instead of the process's shared one.
    """
    chain = default_chain(retries=retries, backoff_factor=backoff_factor, logging=logging, cache=cache)
    return compose(chain, {})
