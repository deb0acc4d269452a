"""Slots: the places in a chain where the middlewares of plugins stand, and what a plugin is told of the chain."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from .pipeline import Middleware


class Slot(enum.Enum):
    """Where in a default chain, a client's or the gateway's, a plugin's middleware stands."""

    CALL = "call"
    """Outside the cache: sees every call. In the gateway, also those that are refused."""
    FETCH = "fetch"
    """Between cache and retry: sees each call that leaves the process. In the gateway, each that is allowed."""
    ATTEMPT = "attempt"
    """Inside retry: sees each attempt, and its error as the caller would. In the gateway, its answer is masked."""
    WIRE = "wire"
    """Inside auth: sees the request as it is sent, the token or the credential in its header."""


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


def compose(chain: Iterable[Middleware | Slot], offers: Mapping[Slot, Sequence[Middleware]]) -> list[Middleware]:
    """The chain with what is offered for each slot in its place."""
    composed: list[Middleware] = []
    for element in chain:
        if isinstance(element, Slot):
            composed += offers.get(element, ())
        else:
            composed.append(element)
    return composed
