"""What a route may put into its requests: asked when a route is set, and when a secret of one is.

Each refuses with a StoreError that is fit to show: it never quotes a text that may hold a key.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from .._core.masking import Mask
from ..exceptions import DoubleOError
from . import rules, upstream_tls
from .credentials.combined import Credentials
from .credentials.registry import Registry
from .errors import StoreError
from .models import Route, names_in
from .store.base import Keeper

KINDS = Registry()
"""The kinds of credentials that need no plugin."""

_SHELLS = re.compile(r"\$[A-Za-z_{(]")
_OPTIONS = {"basic": ("basic",), "ca": ("ca",), "cert": ("cert", "key")}


def parsed(route: Route, kinds: Registry) -> Credentials:
    """The credentials of a route; StoreError for a text that can never be sent, or was meant for something else."""
    credentials = kinds.of(route.texts)
    text = "\n".join(credentials.literals)
    if _SHELLS.search("\n".join(route.texts)):
        raise StoreError("a text to be injected holds a shell's $name; a secret is named as {openai-key}")
    if text.count("}") > text.count("{"):
        raise StoreError("a brace in a text to be injected closes nothing; a secret is named as {openai-key}")
    return credentials


async def check(vault: Keeper, route: Route, credentials: Credentials) -> None:
    """Refuse a route that holds the value of any stored secret as text, where it would be listed and not be masked, or
    that could not send the values of its own."""
    values = {name: await vault.secret(name) or "" for name in await vault.names("secret")}
    for name, value in values.items():
        if _quotes(route, value, *credentials.literals):
            raise StoreError(f"the route holds the value of the secret {name!r} as text: write {{{name}}} there")
    _check_values(route, credentials, values)
    upstream_tls.check(route, "".join(values.get(name, "") for name in names_in(route.key or "")))


async def check_value(vault: Keeper, secret: str, value: str | None = None) -> None:
    """Refuse a value that some route which needs the secret could not send; its current one, if None."""
    given = {} if value is None else {secret: value}
    for route in await _routes(vault):
        if secret not in route.secrets:
            continue
        stored = {name: await vault.secret(name) or "" for name in route.secrets}
        if secret in names_in(route.key or ""):
            upstream_tls.check_key({**stored, **given}[secret])  # not whether it fits: its certificate may follow
        try:
            credentials = KINDS.of(route.texts)
        except StoreError:  # of a plugin, which is not loaded here
            continue
        _check_values(route, credentials, {**stored, **given})


async def quoting(vault: Keeper, secret: str, value: str) -> list[str]:
    """A warning for each route that holds the value of a secret as text."""
    return [
        f"the route {route.name!r} holds this value as text, which is listed and not masked: write {{{secret}}} there"
        for route in await _routes(vault)
        if _quotes(route, value)
    ]


async def unknown_kinds(vault: Keeper, kinds: Registry) -> list[str]:
    """A warning for each route with a kind of credentials that is not among `kinds`: its calls are refused."""
    return [
        f"the calls of the route {route.name!r} are refused: it has credentials of the kind {name!r}, which no loaded "
        "plugin adds; `oo serve --plugins NAME` loads one"
        for route in await _routes(vault)
        for name in dict.fromkeys(text.partition(" ")[0] for text in route.credentials)
        if name not in kinds.kinds
    ]


async def used_kinds(vault: Keeper) -> frozenset[str]:
    """The kinds of the credentials that the routes have."""
    return frozenset(text.partition(" ")[0] for route in await _routes(vault) for text in route.texts)


def without(route: Route, names: Collection[str]) -> Route:
    """A route less some of what it injects or shows: headers, parameters, kinds of credentials, `basic`, `ca`, `cert`.
    StoreError for what it does not have."""
    for name in names:
        less = _less(route, name)
        if not less:
            near = rules.nearest(name, [*route.inject, *route.query])
            raise StoreError(f"the route {route.name!r} injects no {name}{near}")
        route = replace(route, **less)
    return route


def merged(texts: Mapping[str, str], others: Mapping[str, str]) -> dict[str, str]:
    """Texts by name, with others in the place of those of the same name."""
    both = {name.lower(): (name, text) for name, text in [*texts.items(), *others.items()]}
    return dict(both.values())


def shown(route: Route, kinds: Registry = KINDS) -> list[str]:
    """What of a route's credentials may be shown, but for headers and the upstream: no text, and of a kind that is not
    loaded its name alone."""
    found = []
    for text in route.texts[len(route.inject) :]:
        if text.startswith("path "):
            continue
        try:
            found.append(kinds.parse(text).shown())
        except StoreError:
            found.append(text.partition(" ")[0])
    return found


async def _routes(vault: Keeper) -> list[Route]:
    found = [await vault.route(name) for name in await vault.names("route")]
    return [route for route in found if route is not None]


def _check_values(route: Route, credentials: Credentials, values: Mapping[str, str]) -> None:
    try:
        credentials.check(values)
        return
    except DoubleOError as error:
        why = str(error)
    raise StoreError(f"the route {route.name!r} could not be called with that: {why}")


def _quotes(route: Route, value: str, *more: str) -> bool:
    text = "\n".join([*(upstream.url for upstream in route.upstreams), *route.texts, *more])
    return Mask([value]).text(text) != text


def _less(route: Route, name: str) -> dict[str, Any]:
    """The fields that change where one thing is dropped; none where it is not there."""
    for field in ("inject", "query"):
        texts: Mapping[str, str] = getattr(route, field)
        kept = {each: text for each, text in texts.items() if each.lower() != name.lower()}
        if len(kept) < len(texts):
            return {field: kept}
    left = tuple(text for text in route.credentials if text.partition(" ")[0] != name)
    if len(left) < len(route.credentials):
        return {"credentials": left}
    fields = _OPTIONS.get(name, ())
    return dict.fromkeys(fields) if fields and getattr(route, fields[0]) is not None else {}
