"""What a gateway keeps: secrets, environments, routes, and the tokens that open them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import translate
from functools import cached_property
from typing import Any, Literal, TypeAlias

from .._http import headers
from .._http.body import Body
from .._http.urls import DEFAULT_BASE_URL, base_url
from .errors import StoreError
from .header_rules import HeaderRules, plain
from .path_readings import readings
from .plugin_settings import PluginSettings, check_settings

Kind = Literal["secret", "env", "route", "bundle"]
"""What a token may open."""

_THINGS = {
    "secret": "it opens a secret, and nothing else",
    "env": "it opens an environment, and nothing else",
    "route": "it opens a route, and nothing else",
    "bundle": "it opens the routes of a bundle, by the forward proxy and in no other way",
}
_REASONS = {"expired": "it has expired", "used up": "it is used up", "revoked": "it was revoked"}

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
PLACEHOLDER = re.compile(r"\{\{|\{([A-Za-z0-9][A-Za-z0-9._-]*)\}")  # "{{" is a brace

# RFC 6454, 6.2: a scheme and a host in small letters, and a port that is not the scheme's own.
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://([a-z0-9._-]+|\[[0-9a-f:]+\])(:[0-9]{1,5})?")
_USUAL_PORT = re.compile("^http:.*:80$|^https:.*:443$")
MAX_WEIGHT = 1000
MAX_RETRIES = 10
_ALLOW = re.compile(r"(\*|[A-Z]+) (/\S*)")


@dataclass(frozen=True)
class SecretRef:
    """A variable whose value is that of a secret."""

    name: str


Variable: TypeAlias = "str | SecretRef"
"""One variable of an environment: a literal, or a secret's value."""


@dataclass(frozen=True)
class Upstream:
    """One of a route's upstreams. It is asked in proportion to its weight."""

    url: str
    weight: int = 1

    def __str__(self) -> str:
        return self.url if self.weight == 1 else f"{self.url} weight={self.weight}"


@dataclass(frozen=True)
class Route:
    """An upstream API, and what a caller may do with it.

    `inject` and `query` map names of headers and of parameters to texts with `{secret-name}` placeholders. `basic` is
    `user:password`, `credentials` are texts of further kinds, and the upstream's path may hold placeholders too. `ca`
    and `cert` are certificates in PEM: whom to trust beside the public authorities, and what to show; `key` is the
    placeholder of the private key to `cert`. `allow` holds patterns such as
    `POST /v1/*`, in which `*` stands for anything; an empty one allows everything. `timeout` is in seconds. Upstreams
    at private and loopback addresses are refused unless `allow_private`. `allow_plain_http` and `allow_weak` say that
    a key may go in clear, or be too short to be masked. `pass_headers` names headers that go up as the caller sent
    them, though the gateway would keep them back, and `drop_headers` those that never go up. `websocket` lets callers
    open WebSockets. `others` are the upstreams besides the first, whose `weight` is its share. `retries` is how often a
    call that may be repeated is. `cors` names the origins whose programs in browsers may call, "*" any. `settings` are
    those of plugins, by the plugin's name.
    """

    name: str
    upstream: str
    inject: Mapping[str, str] = field(default_factory=dict)
    allow: tuple[str, ...] = ()
    timeout: float = 60.0
    allow_private: bool = False
    allow_plain_http: bool = False
    allow_weak: bool = False
    pass_headers: tuple[str, ...] = ()
    query: Mapping[str, str] = field(default_factory=dict)
    basic: str | None = None
    credentials: tuple[str, ...] = ()
    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    drop_headers: tuple[str, ...] = ()
    websocket: bool = False
    weight: int = 1
    others: tuple[Upstream, ...] = ()
    retries: int = 0
    cors: tuple[str, ...] = ()
    settings: PluginSettings = field(default_factory=dict)

    def __post_init__(self) -> None:
        """StoreError for a field that is not valid."""
        check_name(self.name)
        for upstream in self.upstreams:
            try:
                base_url(upstream.url)
            except ValueError as error:
                why = str(error).replace("base URL", "upstream").replace(DEFAULT_BASE_URL, "https://api.example.com")
                raise StoreError(why) from None
            if not 1 <= upstream.weight <= MAX_WEIGHT:
                raise StoreError(f"the weight of an upstream is a whole number from 1 to {MAX_WEIGHT}")
        if len({upstream.url.rstrip("/") for upstream in self.upstreams}) < len(self.upstreams):
            raise StoreError("the same upstream is named twice: give it a weight instead")
        for origin in self.cors:
            if origin != "*" and (not _ORIGIN.fullmatch(origin) or _USUAL_PORT.search(origin)):
                raise StoreError(f"{origin!r} is no origin as browsers send it, such as https://app.example")
        if not 0 <= self.retries <= MAX_RETRIES:
            raise StoreError(f"a route has from 0 to {MAX_RETRIES} retries")
        for name, text in self.inject.items():
            if not headers.NAME.fullmatch(name) or not re.fullmatch(r"[ -~]+", text):
                raise StoreError(f"{name!r} is no header that can be injected")
        if len({name.lower() for name in self.inject}) < len(self.inject):
            raise StoreError("two of the injected headers differ in case alone")
        for name in self.pass_headers + self.drop_headers:
            if not headers.NAME.fullmatch(name):
                raise StoreError(f"{name!r} is no name of a header")
        for pattern in self.allow:
            if not _ALLOW.fullmatch(pattern):
                raise StoreError(f"{pattern!r} is no pattern such as 'POST /v1/*'")
        check_settings(self.settings)
        if not 0 < self.timeout <= 3600:
            raise StoreError("the timeout must be more than 0 and at most 3600 seconds")

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> Route:
        """The route that was stored as JSON, which has lists; one of an earlier version lacks some fields."""
        given: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in stored.items()
        }
        given["others"] = tuple(Upstream(**other) for other in given.get("others", ()))
        return cls(**given)

    @cached_property
    def upstreams(self) -> tuple[Upstream, ...]:
        """All of its upstreams."""
        return (Upstream(self.upstream, self.weight), *self.others)

    @cached_property
    def header_rules(self) -> HeaderRules:
        """Which of a caller's headers go up."""
        return HeaderRules(self.pass_headers, (*self.drop_headers, *self.inject))

    def passes(self, name: str) -> bool:
        """Whether a header that else does not go up, or is not kept, goes up as the caller sent it."""
        return name in map(plain, self.pass_headers)

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """All that it puts into its requests, each text after the name of its kind of credentials."""
        texts = [f"header {name}: {text}" for name, text in self.inject.items()]
        texts += [f"query {name}={text}" for name, text in self.query.items()]
        texts += [] if self.basic is None else [f"basic {self.basic}"]
        texts += self.credentials
        return (*texts, *(f"path {upstream.url}" for upstream in self.upstreams if "{" in upstream.url))

    @cached_property
    def secrets(self) -> frozenset[str]:
        """The names of the secrets it needs."""
        return frozenset(names_in(*self.texts, self.key or ""))

    def allows(self, method: str, path: str) -> bool:
        """Whether a caller may make this request: one pattern fits the path, however a server may read it. `path` is
        what follows /api/proxy/, without the query."""
        try:
            paths = readings(f"/{path}")
        except ValueError:
            return False
        if not self.allow:
            return True
        return any(allowed in ("*", method) and all(map(match, paths)) for allowed, match in self._patterns)

    @cached_property
    def _patterns(self) -> tuple[tuple[str, Callable[[str], object]], ...]:
        split = (pattern.split(" ", 1) for pattern in self.allow)
        return tuple((method, re.compile(translate(glob)).match) for method, glob in split)


@dataclass(frozen=True)
class Rate:
    """At most `count` uses in any `seconds`."""

    count: int
    seconds: float


@dataclass(frozen=True)
class Grant:
    """The thing that a token opened. `counted` says whether the token's uses are limited, so that one must be paid;
    `concurrency`, how many of its calls may be under way at once, if that is limited."""

    token_id: str
    kind: Kind
    name: str
    label: str = ""
    counted: bool = True
    concurrency: int | None = None


@dataclass(frozen=True)
class Token:
    """What a store keeps of a token: its terms and its keyed `hash`, never the token itself. Times are seconds since
    1970. `revision` is drawn anew by a store that counts uses apart from the terms, whenever those change."""

    id: str
    kind: Kind
    name: str
    label: str
    issued: float
    expires: float | None
    uses: int | None
    rate: Rate | None
    revoked: float | None
    hash: str
    used: int = 0
    concurrency: int | None = None
    revision: int = 0

    @cached_property
    def grant(self) -> Grant:
        """What it opens."""
        return Grant(self.id, self.kind, self.name, self.label, self.uses is not None, self.concurrency)

    def denied(self, why: str, retry_after: float | None = None) -> Denial:
        """What denies a call for which it is not revoked, expired or of another kind."""
        return Denial(why, self.id, retry_after, label=self.label, target=None if self.kind == "bundle" else self.name)

    def opens(self, kind: Kind, now: float) -> Grant | Denial:
        """Whether it opens a thing of that kind at `now`; a limit of uses or rate is not looked at. A bundle is asked
        for as a route, and its Grant says that it is one."""
        if self.revoked is not None:
            return Denial("revoked", self.id, label=self.label)
        if self.expires is not None and now >= self.expires:
            return Denial("expired", self.id, label=self.label)
        if self.kind != kind and (self.kind, kind) != ("bundle", "route"):  # whose routes the forward proxy calls
            return Denial("wrong kind", self.id, opens=self.kind, label=self.label)
        return self.grant


@dataclass(frozen=True)
class Version:
    """One version of a secret. `created` is in seconds since 1970."""

    version: int
    created: float
    current: bool


@dataclass(frozen=True, repr=False)
class AuthorityKey:
    """A `private` key of the gateway's certificate authority, in PEM, which signs from `since` on (seconds since
    1970)."""

    private: str
    since: float


@dataclass(frozen=True)
class Denial:
    """Why a token opened nothing, `why` for the audit. `retry_after` (seconds) is set if its rate was the reason,
    `opens` if it is for a thing of another kind, `target` to the name of what it opens otherwise."""

    why: str
    token_id: str | None = None
    retry_after: float | None = None
    opens: Kind | None = None
    label: str = ""
    target: str | None = None

    @property
    def reason(self) -> str:
        """What its holder is told; "" where there is no such token."""
        return _THINGS[self.opens] if self.opens is not None else _REASONS.get(self.why, "")


@dataclass(frozen=True)
class StoredResponse:
    """The first response to an idempotent call. A large body is a Body, in pieces, on its way to a
    store and back."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes | Body


def names_in(*texts: str) -> list[str]:
    """The names of the secrets in some texts with placeholders."""
    return [match[1] for text in texts for match in PLACEHOLDER.finditer(text) if match[1]]


def check_name(name: str) -> str:
    """The name itself; StoreError if it is not valid."""
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise StoreError(f"{name!r} is no name: letters, digits, '.', '_' and '-', 128 at most")
    return name
