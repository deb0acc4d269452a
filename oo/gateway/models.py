"""What a gateway keeps, and the narrow interface through which it is kept."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Literal, TypeAlias
from urllib.parse import unquote

from .._http import headers
from .._http.urls import base_url
from .errors import StoreError

Kind = Literal["secret", "env", "route"]
"""What a token may open."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
PLACEHOLDER = re.compile(r"\{([A-Za-z0-9][A-Za-z0-9._-]*)\}")
"""Where a secret's value goes in a text."""

_ALLOW = re.compile(r"(\*|[A-Z]+) (/\S*)")


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
    `POST /v1/*` (`*` stands for anything); none allows everything. `timeout` is in seconds. Upstreams at private
    and loopback addresses are refused unless `allow_private`. `allow_plain_http` and `allow_weak` say that whoever
    keeps it knows of a key that goes in clear, or is too short to be masked.
    """

    name: str
    upstream: str
    inject: Mapping[str, str] = field(default_factory=dict)
    allow: tuple[str, ...] = ()
    timeout: float = 60.0
    allow_private: bool = False
    allow_plain_http: bool = False
    allow_weak: bool = False

    def __post_init__(self) -> None:
        """StoreError where a part cannot be."""
        check_name(self.name)
        try:
            base_url(self.upstream)
        except ValueError as error:
            raise StoreError(str(error).replace("base URL", "upstream")) from None
        for name, text in self.inject.items():
            if not headers.NAME.fullmatch(name) or not re.fullmatch(r"[ -~]+", text):
                raise StoreError(f"{name!r} is no header that can be injected")
        if len({name.lower() for name in self.inject}) < len(self.inject):
            raise StoreError("two of the injected headers differ in case alone")
        for pattern in self.allow:
            if not _ALLOW.fullmatch(pattern):
                raise StoreError(f"{pattern!r} is no pattern such as 'POST /v1/*'")
        if not 0 < self.timeout <= 3600:
            raise StoreError("the timeout must be more than 0 and at most 3600 seconds")

    @cached_property
    def secrets(self) -> frozenset[str]:
        """The names of the secrets that it injects."""
        return frozenset(name for text in self.inject.values() for name in PLACEHOLDER.findall(text))

    def headers(self, values: Mapping[str, str]) -> dict[str, str]:
        """The headers to inject, with the secrets' values in their places."""
        return {name: PLACEHOLDER.sub(lambda match: values[match[1]], text) for name, text in self.inject.items()}

    def allows(self, method: str, path: str) -> bool:
        """Whether a caller may do this; `path` begins behind /api/proxy/ and has no query."""
        if not self.allow:
            return True
        # The upstream may or may not undo an escape, so the path must fit as written and as meant.
        paths = {f"/{path}", f"/{unquote(path)}"}
        return any(
            allowed in ("*", method) and all(fnmatchcase(each, glob) for each in paths)
            for allowed, glob in (pattern.split(" ", 1) for pattern in self.allow)
        )


@dataclass(frozen=True)
class Rate:
    """At most `count` uses in any `seconds`."""

    count: int
    seconds: float


@dataclass(frozen=True)
class Grant:
    """What one use of a token opened."""

    token_id: str
    kind: Kind
    name: str


@dataclass(frozen=True)
class Denial:
    """Why a token opened nothing: for the audit only. `retry_after` (seconds) is set where only its rate said no."""

    why: str
    token_id: str | None = None
    retry_after: float | None = None


@dataclass(frozen=True)
class StoredResponse:
    """The first answer to an idempotent call."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


def check_name(name: str) -> str:
    """The name, if it is one; else StoreError."""
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise StoreError(f"{name!r} is no name: letters, digits, '.', '_' and '-', 128 at most")
    return name
