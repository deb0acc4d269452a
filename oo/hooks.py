"""What a plugin author imports: Slot, hookimpl and the hooks themselves.

    import oo

    @oo.hookimpl
    def oo_middleware(client):
        return [(oo.Slot.CALL, Timer())]

A plugin is code with full trust: it runs in this process and sees tokens and secrets pass.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import pluggy

from ._core.pipeline import Middleware
from ._core.slots import ClientInfo, Role, Slot

__all__ = ["ClientInfo", "Kms", "Role", "Slot", "hookimpl", "hookspec", "oo_kms", "oo_middleware"]

hookspec = pluggy.HookspecMarker("oo")
hookimpl = pluggy.HookimplMarker("oo")
"""Marks a plugin's `oo_middleware`, and its other hooks."""


class Kms(Protocol):
    """A service that keeps a master key, and wraps the data keys of a store with it. Its methods block; whatever they
    raise but ValueError means that it cannot be asked at the moment."""

    id: str
    """What is kept beside what it wraps: its key's name, no secret, the same wherever the service is reached."""

    def wrap(self, key: bytes, context: bytes) -> bytes:
        """Encrypt a key of 40 bytes, bound to a context (its additional data), with the newest version of its own."""

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """Decrypt it. ValueError where it isn't what was wrapped in that context."""


@hookspec
def oo_middleware(client: ClientInfo) -> Iterable[tuple[Slot, Middleware]]:  # noqa: ARG001  # a specification
    """The plugin's middlewares for this client or gateway, each with its slot. Called once for each that is made."""
    return []


@hookspec
def oo_credentials() -> Iterable[type]:
    """The kinds of credentials that the plugin adds to a gateway: subclasses of its `Credential`. Called once."""
    return []


@hookspec(firstresult=True)
def oo_kms(url: str) -> Kms:
    """The KMS that OO_KMS names by a URL whose scheme is the plugin's name. Called whenever a store is opened."""
    raise NotImplementedError
