"""What a gateway keeps, and the narrow interface through which it is kept."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

from .._paths import base_url

Kind = Literal["secret", "env", "route"]
"""What a token may open."""

_FIELD = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_PLACEHOLDER = re.compile(r"\{([A-Za-z0-9._-]+)\}")


@dataclass(frozen=True)
class SecretRef:
    """A variable whose value is a secret's."""

    name: str


Variable: TypeAlias = "str | SecretRef"
"""One variable of an environment: a literal, or a secret's value."""


@dataclass(frozen=True)
class Route:
    """An upstream API, and what a caller may do with it.

    `inject` maps header names to texts with `{secret-name}` placeholders. `allow` holds patterns such as
    `POST /v1/*`; none allows everything. `timeout` is in seconds.
    """

    name: str
    upstream: str
    inject: Mapping[str, str] = field(default_factory=dict)
    allow: tuple[str, ...] = ()
    timeout: float = 60.0

    def __post_init__(self) -> None:
        """ValueError where a part cannot be."""
        base_url(self.upstream)
        for name in self.inject:
            if not _FIELD.fullmatch(name):
                raise ValueError(f"{name!r} is no header name")

    def secrets(self) -> set[str]:
        """The names of the secrets that it injects."""
        return {name for text in self.inject.values() for name in _PLACEHOLDER.findall(text)}

    def headers(self, values: Mapping[str, str]) -> dict[str, str]:
        """The headers to inject, with the secrets' values in their places."""
        return {name: _PLACEHOLDER.sub(lambda match: values[match[1]], text) for name, text in self.inject.items()}


@dataclass(frozen=True)
class Lease:
    """What one use of a token opened."""

    token_id: str
    kind: Kind
    name: str


class Store(Protocol):
    """Secrets, environments, routes and tokens. Every method may wait; none shows how things are kept."""

    async def redeem(self, token: str, kind: Kind) -> Lease | None:
        """Spend one use of a token; None where it does not open a thing of that kind, for whatever reason."""

    async def secret(self, name: str) -> str | None:
        """A secret's value."""

    async def environment(self, name: str) -> dict[str, str] | None:
        """An environment's variables, each with its value."""

    async def route(self, name: str) -> Route | None:
        """A route."""

    async def put_secret(self, name: str, value: str) -> None:
        """Keep a secret."""

    async def put_environment(self, name: str, variables: Mapping[str, Variable]) -> None:
        """Keep an environment."""

    async def put_route(self, route: Route) -> None:
        """Keep a route."""

    async def issue(self, kind: Kind, name: str) -> str:
        """A new token for one thing. It is shown here and never again."""
