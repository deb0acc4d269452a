"""Environments and routes as records, and who needs which secret."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict

from ..._http.response import JSON, MAX_ANSWER
from ..errors import IntegrityError, StoreError
from ..models import Kind, Route, SecretRef, Variable
from . import secret_versions, token_rows
from .records import Records


async def names(records: Records, kind: Kind) -> list[str]:
    """The names of a kind, in order."""
    return await records.names(_record(kind))


async def has(records: Records, kind: Kind, name: str) -> bool:
    """Whether there is one of that name."""
    return await records.latest(_record(kind), name) is not None


def _record(kind: Kind) -> str:
    return "head" if kind == "secret" else kind


async def route(records: Records, name: str) -> Route | None:
    """A route, or None."""
    stored = await records.find_json("route", name)
    return None if stored is None else Route.of(stored)


async def origins(records: Records) -> frozenset[str]:
    """The origins whose programs may read what some route answers."""
    return frozenset().union(*(each.cors for each in await _routes(records)))


async def put_route(records: Records, route: Route) -> None:
    """Write a route, in place of an earlier one of that name."""
    await _put_referrer(records, "route", route.name, asdict(route), route.secrets)


async def bundle(records: Records, name: str) -> tuple[str, ...] | None:
    """The routes of a bundle, in its order, or None."""
    stored: JSON = await records.find_json("bundle", name)
    return None if stored is None else tuple(stored["routes"])


async def put_bundle(records: Records, name: str, routes: Iterable[str]) -> None:
    """Write a bundle, in place of an earlier one of that name; StoreError for a route that is not there."""
    for route in routes:
        if await records.find_json("route", route) is None:
            raise StoreError(f"there is no route {route!r}")
    await records.put("bundle", name, 0, {"routes": list(routes)})


async def variables(records: Records, name: str) -> dict[str, Variable] | None:
    """An environment's variables as they were put, or None."""
    stored = await records.find_json("env", name)
    if stored is None:
        return None
    return {key: SecretRef(value["secret"]) if "secret" in value else value["literal"] for key, value in stored.items()}


async def environment(records: Records, name: str) -> dict[str, str] | None:
    """An environment's variables, each with its value, or None."""
    stored: JSON = await records.find_json("env", name)
    return None if stored is None else {key: await _value(records, name, key, stored[key]) for key in stored}


async def put_environment(records: Records, name: str, variables: Mapping[str, Variable]) -> None:
    """Write an environment, in place of an earlier one of that name."""
    stored = {
        key: {"secret": value.name} if isinstance(value, SecretRef) else {"literal": value}
        for key, value in variables.items()
    }
    needed = {value.name for value in variables.values() if isinstance(value, SecretRef)}
    await _put_referrer(records, "env", name, stored, needed)
    secrets = {secret: await secret_versions.current(records, secret) for secret in needed}
    check_size({key: secrets[v.name] if isinstance(v, SecretRef) else v for key, v in variables.items()})


async def remove(records: Records, kind: Kind, name: str) -> None:
    """Delete a thing and revoke its tokens; StoreError if there is none, or if something needs it."""
    needed = await referrers(records, name) if kind == "secret" else []
    if kind == "route":  # a later one of that name would be in them
        bundles = await records.every_json("bundle")
        needed = [f"the bundle {each!r}" for each, stored in bundles.items() if name in stored["routes"]]
    if needed:
        raise StoreError(f"the {kind} {name!r} is needed by {', '.join(needed)}")
    deleted = [await records.delete(stored, name) for stored in (("secret", "head") if kind == "secret" else (kind,))]
    if not any(deleted):
        raise StoreError(f"there is no {kind} {name!r}")
    for token in await token_rows.every(records):
        if (token.kind, token.name) == (kind, name):
            await token_rows.revoke(records, token.id)


async def referrers(records: Records, secret: str) -> list[str]:
    """The environments and routes that need a secret, in words."""
    envs = {name: values.values() for name, values in (await records.every_json("env")).items()}
    return [f"the environment {name!r}" for name, values in envs.items() if {"secret": secret} in values] + [
        f"the route {each.name!r}" for each in await _routes(records) if secret in each.secrets
    ]


def check_size(answer: Mapping[str, str | None]) -> None:
    """StoreError for what is larger than a client takes."""
    if len(json.dumps(answer)) > MAX_ANSWER - 16:  # an environment is wrapped in "secrets"
        raise StoreError(f"that is larger than {MAX_ANSWER} bytes as JSON, more than a client takes")


async def _put_referrer(records: Records, kind: Kind, name: str, data: JSON, needed: Iterable[str]) -> None:
    for secret in sorted(needed):
        if await records.find_json("head", secret) is None:
            raise StoreError(f"there is no secret {secret!r}: `oo secret set {secret}` first")
    await records.put(kind, name, 0, data)


async def _routes(records: Records) -> list[Route]:
    return [Route.of(stored) for stored in (await records.every_json("route")).values()]


async def _value(records: Records, env: str, key: str, stored: Mapping[str, str]) -> str:
    if "literal" in stored:
        return stored["literal"]
    value = await secret_versions.current(records, stored["secret"])
    if value is None:
        raise IntegrityError(f"the secret of {key} in the environment {env!r} is missing from the vault")
    return value
