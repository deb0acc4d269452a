"""What a plugin author imports: Slot, hookimpl and the hook itself.

    import oo

    @oo.hookimpl
    def oo_middleware(client):
        return [(oo.Slot.CALL, Timer())]

A plugin is code with full trust: it runs in this process and sees tokens and secrets pass.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass

import pluggy

from ._core.pipeline import Middleware

hookspec = pluggy.HookspecMarker("oo")
hookimpl = pluggy.HookimplMarker("oo")
"""Marks a plugin's `oo_middleware`."""


class Slot(enum.Enum):
    """Where in the default chain a plugin's middleware stands."""

    CALL = "call"
    """Outside the cache: sees every call."""
    FETCH = "fetch"
    """Between cache and retry: sees each call that leaves the process."""
    ATTEMPT = "attempt"
    """Inside retry: sees each attempt, and its error as the caller would."""
    WIRE = "wire"
    """Inside auth: sees the request as it is sent, the token in its header."""


@dataclass(frozen=True)
class ClientInfo:
    """What is being built, as a plugin is told: never a token."""

    base_url: str
    blocking: bool
    retries: int


@hookspec
def oo_middleware(client: ClientInfo) -> Iterable[tuple[Slot, Middleware]]:  # noqa: ARG001  # a specification
    """The plugin's middlewares for this client, each with its slot. Called once for each client that is made."""
    return []


@hookspec
def oo_credentials() -> Iterable[type]:
    """The kinds of credentials that the plugin adds to a gateway: subclasses of its `Credential`. Called once."""
    return []
