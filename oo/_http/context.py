"""What the steps of one call share."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from ..exceptions import Operation

if TYPE_CHECKING:
    from .response import Response

Parser: TypeAlias = "Callable[[Response], Any]"
"""Turns an answer into the operation's value, or raises what is wrong with it."""

TimelineEntry: TypeAlias = tuple["str | int", float]
"""What happened ("attempt", a status, the reason of a failure), and how many seconds after the call began."""


_names: list[str] = []  # drawn from the system, many at once, and not used yet
if hasattr(os, "register_at_fork"):  # not by `_core/fork.py`, which stands on this room
    os.register_at_fork(after_in_child=_names.clear)


def _name() -> str:
    try:
        return _names.pop()
    except IndexError:
        drawn = os.urandom(16 * 64).hex()
        _names.extend(drawn[at : at + 32] for at in range(32, len(drawn), 32))
        return drawn[:32]


def _as_it_is(response: Response) -> Response:
    return response


class Context:
    """One call's shared state: every copy of its Request, and its Response, has this very object.

    Attributes:
        operation: what the call is for: "secret", "env", "proxy" or "health".
        started: when the call began, on the pipeline's monotonic clock (seconds).
        attempts: how many requests were sent.
        cache: "miss", "hit", or "stale" for an expired answer that served in an outage.
        timeline: what happened when.
        max_seconds: seconds for the whole call, if the caller gave a deadline for this call; else None.
        side: "server" for a call that came here, to a gateway; else "client".
        token, cache_ttl, parse: a client's, see ClientContext.
    """

    # Defaults of the class: a call pays only for what it sets.
    operation: Operation = "proxy"
    started: float = 0.0
    attempts: int = 0
    cache: Literal["miss", "hit", "stale"] = "miss"
    max_seconds: float | None = None
    side: Literal["client", "server"] = "client"
    token: str = ""
    cache_ttl: float | None = None
    parse: Parser = staticmethod(_as_it_is)

    def __init__(self) -> None:
        self.timeline: list[TimelineEntry] = []

    @cached_property
    def id(self) -> str:
        """A random name of this call: 32 hexadecimal digits."""
        return _name()

    @cached_property
    def extensions(self) -> dict[str, Any]:
        """A dict for plugins alone; the library neither reads nor writes it."""
        return {}

    def settings(self, name: str) -> Mapping[str, str]:  # noqa: ARG002  # the gateway's has some
        """What the route of this call sets for the plugin of that name (`oo route set --with`). Empty in a client, and
        in a gateway until the route is known: from `Slot.FETCH` on it is."""
        return {}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.operation}>"
