"""Sequences of what is asked of a store, by two who have it open, against a model of what it should say."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oo.gateway import postgres as postgres_store
from oo.gateway.errors import StoreError
from oo.gateway.models import Denial, Grant, Route, StoredResponse
from oo.gateway.open_store import open_store
from oo.gateway.sealing import Keyring, new_key
from oo.gateway.store.base import Keeper
from oo.gateway.vault import Vault
from tests.support.postgres import say

NAMES, KEYS = ("a", "b"), ("k", "l")
RESPONSE = StoredResponse(200, (), b"x")
RING = Keyring([new_key()])
FRESH = 0.0015  # seconds after which a look from before is not used any more

step = st.one_of(
    st.tuples(st.just("put"), st.sampled_from(NAMES)),
    st.tuples(st.just("rollback"), st.sampled_from(NAMES)),
    st.tuples(st.just("remove"), st.sampled_from(NAMES)),
    st.tuples(st.just("issue"), st.sampled_from((*NAMES, "route")), st.sampled_from((None, 1, 2))),
    st.tuples(st.just("consume"), st.integers(0, 3)),
    st.tuples(st.just("authorize"), st.integers(0, 3)),
    st.tuples(st.just("revoke"), st.integers(0, 3)),
    st.tuples(st.just("claim"), st.integers(0, 3), st.sampled_from(KEYS)),
    st.tuples(st.just("complete"), st.integers(0, 3), st.sampled_from(KEYS)),
    st.tuples(st.just("release"), st.integers(0, 3), st.sampled_from(KEYS)),
)
steps = st.lists(st.tuples(st.integers(0, 1), step), max_size=25)


@dataclass
class Issued:
    token: str
    id: str
    kind: Any
    left: int | None
    revoked: bool = False
    name: str = ""


@dataclass
class Model:
    """What should be in the store."""

    values: dict[str, list[str]] = field(default_factory=dict)
    current: dict[str, int] = field(default_factory=dict)
    tokens: list[Issued] = field(default_factory=list)
    calls: dict[tuple[str, str], bytes | str] = field(default_factory=dict)

    def why(self, token: Issued, known: bool = False) -> str | None:
        if token.revoked:
            return "revoked"
        return "used up" if token.left == 0 and not known else None


async def play(store: Keeper, model: Model, what: str, *args: Any) -> None:
    """Take a step, of the store and of the model, and compare."""
    if what in ("consume", "authorize", "revoke", "claim", "complete", "release"):
        if len(model.tokens) <= args[0]:
            return
        await of_token(store, model, what, model.tokens[args[0]], *args[1:])
        return
    name = args[0]
    if what == "put":
        versions = model.values.setdefault(name, [])
        versions.append(f"{name} {len(versions)}")
        model.current[name] = len(versions)
        assert await store.put_secret(name, versions[-1]) == len(versions)
    elif what == "rollback":
        if model.current.get(name, 0) > 1:
            model.current[name] -= 1
            assert await store.rollback(name) == model.current[name]
        else:
            with pytest.raises(StoreError):
                await store.rollback(name)
    elif what == "remove":
        if model.values.pop(name, None) is None:
            with pytest.raises(StoreError, match="there is no secret"):
                await store.remove("secret", name)
            return
        del model.current[name]
        await store.remove("secret", name)
        for token in model.tokens:
            token.revoked = token.revoked or token.name == name
    elif name == "route" or name in model.values:
        kind: Any = "route" if name == "route" else "secret"
        token = await store.issue(kind, name, uses=args[1])
        model.tokens.append(Issued(token, store.id_of(token), kind, args[1], name=name))


async def of_token(store: Keeper, model: Model, what: str, token: Issued, key: str = "") -> None:
    call = (token.id, key)
    if what == "revoke":
        token.revoked = True
        await store.revoke(token.id)
    elif what == "claim":
        found = await store.claim(token.token, key, 60)
        if token.kind != "route" or token.revoked:
            assert isinstance(found, Denial)
        elif call in model.calls:
            assert found == "taken"
        elif token.left == 0:
            assert isinstance(found, Denial)
        else:
            assert isinstance(found, bytes)
            model.calls[call] = found
            token.left = token.left and token.left - 1
    elif what in ("complete", "release"):
        fence = model.calls.get(call)
        if not isinstance(fence, bytes):
            await store.release(token.id, key, b"nobody's")
        elif what == "complete":
            model.calls[call] = "made"
            await store.complete(token.id, key, fence, b"digest", RESPONSE)
        else:
            del model.calls[call]
            await store.release(token.id, key, fence)
    else:
        found = await getattr(store, what)(token.token, token.kind)
        why = model.why(token)
        assert (found.why if isinstance(found, Denial) else None) == why
        if what == "consume" and why is None:
            assert isinstance(found, Grant)
            token.left = token.left and token.left - 1


async def compare(stores: list[Keeper], model: Model) -> None:
    await asyncio.sleep(FRESH)
    for store in stores:
        assert {name: await store.secret(name) for name in await store.names("secret")} == {
            name: versions[model.current[name] - 1] for name, versions in model.values.items()
        }
        for (identity, key), known in model.calls.items():
            found = await store.result(identity, key, b"digest")
            assert found == (RESPONSE if known == "made" else "taken")
        used = {each.id: None if each.uses is None else each.uses - each.used for each in await store.tokens()}
        assert used == {each.id: each.left for each in model.tokens}


async def run(place: str, sequence: list[tuple[int, tuple[Any, ...]]]) -> None:
    model = Model()
    async with AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(open_store(place, lambda: RING)) for _ in range(2)]
        await stores[0].put_secret("injected", "x")
        model.values["injected"], model.current["injected"] = ["x"], 1
        await stores[0].put_route(Route("route", "http://127.0.0.1:9", {"X-Key": "{injected}"}))
        for who, (what, *args) in sequence:
            await asyncio.sleep(FRESH)
            await play(stores[who], model, what, *args)
        await compare(stores, model)


@settings(max_examples=15)
@given(steps)
def test_a_vault_is_as_the_model_says(sequence: list[tuple[int, tuple[Any, ...]]]) -> None:
    with TemporaryDirectory() as home:
        Vault.create(Path(home), RING)
        asyncio.run(run(home, sequence))


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps)
def test_a_database_is_as_the_model_says(postgres: str, sequence: list[tuple[int, tuple[Any, ...]]]) -> None:
    async def afresh() -> None:
        await say(postgres, "DROP SCHEMA IF EXISTS oo CASCADE")
        await postgres_store.create(postgres, RING)
        await run(postgres, sequence)

    asyncio.run(afresh())
