"""What is done with a vault as a whole: the commands call this, and so may an API for administrators.

Each checks the rules first and names what is there where something is not. StoreError says what was wrong.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

from .._core.masking import SHORTEST
from . import keyring, route_credentials, rules, sealing
from .credentials.registry import Registry
from .errors import StoreError
from .models import Kind, Rate, Route, SecretRef, Token, Variable, check_name
from .open_store import is_postgres, key_home, open_store
from .paths import VAULT_FILE, check_home, hand_over
from .plugin_settings import merged_settings
from .route_credentials import KINDS
from .spending import has_use
from .store.base import Keeper
from .vault import Vault

State = Literal["open", "revoked", "expired", "used up"]
"""What a token is good for."""

_TEXTS = ("inject", "query")
_UNSHOWN = ("basic", "credentials", "ca", "cert", "key")
_CHECKED = {
    *_TEXTS,
    *_UNSHOWN,
    "upstream",
    "others",
    "allow_weak",
    "pass_headers",
}  # with these, what is injected is looked at anew


@dataclass(frozen=True, repr=False)
class Issued:
    """A token that was just made, and its id."""

    id: str
    token: str


def create_store(place: str) -> tuple[str, Path | None]:
    """Make a store, and a master key where the environment gives none: where it is, and the key's file, None for a key
    that was given."""
    home = key_home(place)
    check_home(home)
    vault, key = home / VAULT_FILE, keyring.key_path(home)
    made = keyring.is_own() and not keyring.has_keys(home)
    if made and vault.exists() and not is_postgres(place):
        raise StoreError(f"there is a vault in {home} already, and its master key {key} is missing")
    if made:
        keyring.write_keys(key, [sealing.new_key()])
    if is_postgres(place):
        from .postgres import create

        return asyncio.run(create(place, keyring.load(home))), key if made else None
    Vault.create(home, keyring.load(home))
    hand_over(home, vault)
    return str(vault), key if made else None


async def rekey_store(place: str, *, deep: bool = False) -> tuple[int, Path | None]:
    """Give a store a new master key, and with `deep` new data keys: how many data keys, or records, were sealed anew,
    and the master key's file, None for a key in OO_MASTER_KEY or of a KMS, which has its versions itself."""
    home = key_home(place)
    if not keyring.is_own():
        async with open_store(place) as vault:
            return await vault.rekey(keyring.load(home), deep=deep), None
    path, in_file, kms = keyring.key_path(home), not os.environ.get("OO_MASTER_KEY"), os.environ.get("OO_KMS")
    keys = keyring.read_keys(home)
    if len(keys) < 2 and not in_file and not kms:
        raise StoreError('OO_MASTER_KEY holds one key: set it to "OLD,NEW" first')
    # Opened before anything is written: a key that is not the vault's must not get company.
    async with open_store(place) as vault:
        if len(keys) < 2 and in_file:
            keys.append(sealing.new_key())
            keyring.write_keys(path, keys)
        count = await vault.rekey(keyring.ring_of(keys), deep=deep)
    if in_file:
        keyring.write_keys(path, keys[-1:])
    return count, path if in_file else None


async def require(vault: Keeper, kind: Kind, name: str) -> None:
    """StoreError, with the names that are near, where there is no such thing."""
    names = await vault.names(kind)
    if name not in names:
        near = rules.nearest(name, names)
        hint = near or (f": `oo secret set {name}` first" if kind == "secret" else "")
        raise StoreError(f"there is no {kind} {name!r}{hint}")


async def put_secret(vault: Keeper, name: str, value: str) -> tuple[int, list[str]]:
    """Keep a new version of a secret, one that its routes can send: its number, and what to warn of."""
    await route_credentials.check_value(vault, name, value)
    version = await vault.put_secret(name, value)
    return version, await weak_uses(vault, name) + await route_credentials.quoting(vault, name, value)


async def rollback(vault: Keeper, name: str, version: int | None) -> tuple[int, list[str]]:
    """Return to an earlier version of a secret: its number, and what to warn of."""
    await require(vault, "secret", name)
    number, warnings = await vault.rollback(name, version), await weak_uses(vault, name)
    try:
        await route_credentials.check_value(vault, name)
    except StoreError as error:  # that version was set before its routes
        warnings.append(str(error))
    return number, warnings


async def weak_uses(vault: Keeper, secret: str | None = None) -> list[str]:
    """A warning for each route that injects a value too short to be masked, of one secret or of any."""
    warnings = []
    for name in await vault.names("route"):
        route = await vault.route(name)
        if route is None or route.allow_weak:
            continue
        warnings += [
            f"the route {name!r} injects the secret {weak!r}, which is shorter than {SHORTEST} characters and "
            "so is not masked in what the API sends back"
            for weak in await weak_secrets(vault, route)
            if secret in (None, weak)
        ]
    return warnings


async def weak_secrets(vault: Keeper, route: Route) -> list[str]:
    """The secrets of a route whose values are too short to be masked."""
    values = {name: await vault.secret(name) for name in sorted(route.secrets)}
    return [name for name, value in values.items() if value is not None and rules.is_weak(value)]


async def users_of(vault: Keeper, secret: str) -> list[str]:
    """The environments and routes that need a secret, as `env web`, `route api`."""
    envs = {name: await vault.variables(name) or {} for name in await vault.names("env")}
    routes = {name: await vault.route(name) for name in await vault.names("route")}
    found = [f"env {name}" for name, variables in envs.items() if SecretRef(secret) in variables.values()]
    return found + [f"route {name}" for name, route in routes.items() if route and secret in route.secrets]


async def put_environment(
    vault: Keeper, name: str, variables: Mapping[str, Variable], *, override: bool = False
) -> None:
    """Keep an environment, in the place of one that is there only with `override`."""
    check_name(name)
    await _check_variables(vault, variables)
    await _check_new(vault, "env", name, override)
    await vault.put_environment(name, variables)


async def update_environment(
    vault: Keeper, name: str, variables: Mapping[str, Variable], drop: Collection[str] = ()
) -> list[str]:
    """Set and drop variables of an environment; a line for each that changed."""
    await require(vault, "env", name)
    before = await vault.variables(name) or {}
    for missing in (key for key in drop if key not in before):
        raise StoreError(f"the env {name!r} has no variable {missing!r}{rules.nearest(missing, before)}")
    after = {key: value for key, value in {**before, **variables}.items() if key not in drop or key in variables}
    await _check_variables(vault, after)
    changed = [
        f"{key} {'changed' if key in before else 'added'}"
        for key, new in variables.items()
        if key not in before or before[key] != new
    ]
    changed += [f"{key} dropped" for key in before if key not in after]
    if changed:
        await vault.put_environment(name, after)
    return changed


async def put_route(vault: Keeper, route: Route, *, override: bool = False, kinds: Registry = KINDS) -> None:
    """Keep a route, in the place of one that is there only with `override`. `kinds` are those of its credentials."""
    rules.check_upstream(route)
    await _check_credentials(vault, route, kinds)
    await _check_new(vault, "route", route.name, override)
    await vault.put_route(route)


async def update_route(
    vault: Keeper, name: str, changes: Mapping[str, Any], drop: Collection[str] = (), *, kinds: Registry = KINDS
) -> list[str]:
    """Change what is named of a route; a line for each that changed, without the texts that it injects.

    `changes` are a Route's fields. `inject` and `query` join what is there, less what `drop` names: headers,
    parameters, kinds of credentials, `basic`, `ca` and `cert`. `settings` joins the plugins there are; one
    without any is dropped.
    """
    await require(vault, "route", name)
    before = await vault.route(name)
    if before is None:
        raise StoreError(f"there is no route {name!r}")
    less = route_credentials.without(before, drop)
    joined: dict[str, Any] = {
        field: route_credentials.merged(getattr(less, field), changes[field]) for field in _TEXTS if field in changes
    }
    joined["settings"] = merged_settings(before.settings, changes.get("settings", {}))
    after = replace(less, **{**changes, **joined})
    if {"upstream", "others", "allow_private", "allow_plain_http"} & changes.keys():
        rules.check_upstream(after)
    if drop or _CHECKED & changes.keys():
        await _check_credentials(vault, after, kinds)
    changed = _differences(before, after)
    if changed:
        await vault.put_route(after)
    return changed


async def put_bundle(vault: Keeper, name: str, routes: Collection[str]) -> None:
    """Keep a bundle of routes, in the place of one of that name."""
    check_name(name)
    for route in routes:
        await require(vault, "route", route)
    await vault.put_bundle(name, list(dict.fromkeys(routes)))


async def issue(
    vault: Keeper,
    kind: Kind,
    name: str,
    *,
    ttl: float | None = None,
    uses: int | None = None,
    rate: Rate | None = None,
    label: str = "",
    concurrency: int | None = None,
) -> Issued:
    """A new token for one thing. It is shown here and never again."""
    if uses is not None:
        rules.check_uses(uses)
    await require(vault, kind, name)
    token = await vault.issue(kind, name, ttl=ttl, uses=uses, rate=rate, label=label, concurrency=concurrency)
    return Issued(vault.id_of(token), token)


async def revoke(vault: Keeper, token_id: str) -> None:
    """Let a token open nothing from now on."""
    try:
        await vault.revoke(token_id)
        return
    except StoreError:
        ids = [token.id for token in await vault.tokens()]
        if token_id in ids:
            raise
    near = rules.nearest(token_id, ids) or "; `oo token list` shows the ids"
    raise StoreError(f"there is no token {token_id!r}{near}")


async def tokens(
    vault: Keeper, things: Collection[tuple[Kind, str]] = (), states: Collection[State] = (), label: str | None = None
) -> list[Token]:
    """The tokens, the oldest first: those for these things, in these states, whose label holds a text."""
    now = time.time()
    return [
        token
        for token in await vault.tokens()
        if (not things or (token.kind, token.name) in things)
        and (not states or state_of(token, now) in states)
        and (label is None or label.lower() in token.label.lower())
    ]


async def prune_tokens(vault: Keeper) -> list[Token]:
    """Forget the tokens that open nothing any more, and return them."""
    now = time.time()
    return await vault.remove_tokens(lambda token: state_of(token, now) != "open")


def state_of(token: Token, now: float) -> State:
    """What a token is good for at a time."""
    if token.revoked is not None:
        return "revoked"
    if token.expires is not None and token.expires <= now:
        return "expired"
    return "open" if has_use(token, token.used) else "used up"


async def _check_new(vault: Keeper, kind: Kind, name: str, override: bool) -> None:
    if not override and name in await vault.names(kind):
        raise StoreError(
            f"{kind} {name!r} is there already: `oo {kind} update {name}` changes what you name, --replace all of it"
        )


async def _check_variables(vault: Keeper, variables: Mapping[str, Variable]) -> None:
    rules.check_variables(variables)
    for value in variables.values():
        if isinstance(value, SecretRef):
            await require(vault, "secret", value.name)


async def _check_credentials(vault: Keeper, route: Route, kinds: Registry) -> None:
    rules.check_passed(route.pass_headers)
    credentials = route_credentials.parsed(route, kinds)
    for name in sorted(route.secrets | credentials.secrets):
        await require(vault, "secret", name)
    for url in credentials.urls:
        rules.check_called(route, url, "a URL of the credentials")
    if not route.allow_weak and (weak := await weak_secrets(vault, route)):
        raise StoreError(
            f"the secret {weak[0]!r} is shorter than {SHORTEST} characters, too short to be masked in what the "
            "API sends back: give --allow-weak if it is no secret"
        )
    await route_credentials.check(vault, route, credentials)


_MAPPINGS = {"inject": "inject", "query": "query", "settings": "with"}


def _differences(before: Route, after: Route) -> list[str]:
    changed = []
    for field in fields(Route):
        old, new = getattr(before, field.name), getattr(after, field.name)
        if old == new:
            continue
        if field.name in _UNSHOWN:
            changed.append(f"{field.name}: {'changed' if old and new else 'added' if new else 'dropped'}")
            continue
        if field.name not in _MAPPINGS:
            changed.append(f"{field.name.replace('_', ' ')}: {_shown(old, field.name)} -> {_shown(new, field.name)}")
            continue
        for name in {**old, **new}:
            if old.get(name) != new.get(name):
                what = "changed" if name in old and name in new else "added" if name in new else "dropped"
                changed.append(f"{_MAPPINGS[field.name]} {name}: {what}")
    return changed


def _shown(value: Any, field: str) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or ("everything" if field == "allow" else "none")
    return f"{value:g}" if isinstance(value, float) else str(value)
