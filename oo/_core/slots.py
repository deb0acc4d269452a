"""Slots: the places in a chain where the middlewares of plugins stand."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence

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


def compose(chain: Iterable[Middleware | Slot], offers: Mapping[Slot, Sequence[Middleware]]) -> list[Middleware]:
    """The chain with what is offered for each slot in its place."""
    composed: list[Middleware] = []
    for element in chain:
        if isinstance(element, Slot):
            composed += offers.get(element, ())
        else:
            composed.append(element)
    return composed
