"""What a plugin author imports: Slot, hookimpl and the hook itself.

    import oo

    @oo.hookimpl
    def oo_middleware(client):
        return [(oo.Slot.CALL, Timer())]

A plugin is code with full trust: it runs in this process and sees tokens and secrets pass.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import pluggy

from ._core.pipeline import Middleware
from ._core.slots import Slot

__all__ = ["ClientInfo", "Role", "Slot", "hookimpl", "hookspec", "oo_middleware"]

hookspec = pluggy.HookspecMarker("oo")
hookimpl = pluggy.HookimplMarker("oo")
"""Marks a plugin's `oo_middleware`."""


Role: TypeAlias = Literal["blocking", "asyncio", "gateway"]
"""The world that a chain is built for."""


@dataclass(frozen=True)
class ClientInfo:
    """What is being built, as a plugin is told: never a token.

    `role` says for which world; by default, a client's that is `blocking` or not. Of a gateway, `base_url` is its own.
    """

    base_url: str
    blocking: bool
    retries: int
    role: Role | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if self.role is None:
            object.__setattr__(self, "role", "blocking" if self.blocking else "asyncio")


@hookspec
def oo_middleware(client: ClientInfo) -> Iterable[tuple[Slot, Middleware]]:  # noqa: ARG001  # a specification
    """The plugin's middlewares for this client or gateway, each with its slot. Called once for each that is made."""
    return []


@hookspec
def oo_credentials() -> Iterable[type]:
    """The kinds of credentials that the plugin adds to a gateway: subclasses of its `Credential`. Called once."""
    return []
