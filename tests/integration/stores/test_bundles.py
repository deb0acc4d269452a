"""Bundles and the keys of the certificate authority, in every store."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from oo.gateway import moving, open_store
from oo.gateway.errors import StoreError
from oo.gateway.models import Denial, Grant, Route
from oo.gateway.services import create_store, rekey_store
from oo.gateway.store.base import Keeper


@pytest.fixture
async def bundle(keeper: Keeper) -> str:
    """A token of a bundle with two routes."""
    for name in ("a", "b"):
        await keeper.put_route(Route(name, f"https://{name}.test"))
    await keeper.put_bundle("both", ["b", "a"])
    return await keeper.issue("bundle", "both", uses=2)


async def test_a_bundle_is_seen_by_everybody(keeper: Keeper, other: Keeper, bundle: str) -> None:
    assert await other.bundle("both") == ("b", "a")
    await keeper.put_bundle("both", ["a"])
    assert await other.bundle("both") == ("a",)
    assert (await other.bundle("none"), await other.names("bundle")) == (None, ["both"])
    with pytest.raises(StoreError, match="no route 'c'"):
        await keeper.put_bundle("both", ["a", "c"])
    with pytest.raises(StoreError, match="no name"):
        await keeper.put_bundle("a b", ["a"])


async def test_a_route_of_a_bundle_stays(keeper: Keeper, bundle: str) -> None:
    with pytest.raises(StoreError, match="needed by the bundle 'both'"):
        await keeper.remove("route", "a")
    await keeper.remove("bundle", "both")
    await keeper.remove("route", "a")
    assert isinstance(await keeper.opens(bundle, "route"), Denial)


async def test_its_token_is_asked_as_a_routes(keeper: Keeper, other: Keeper, bundle: str) -> None:
    for store in (keeper, other):
        grant = await store.opens(bundle, "route")
        assert isinstance(grant, Grant)
        assert (grant.kind, grant.name) == ("bundle", "both")
        denial = await store.opens(bundle, "secret")
        assert isinstance(denial, Denial)
        assert "by the forward proxy" in denial.reason
    assert isinstance(await keeper.claim(bundle, "key", 5), bytes)
    assert isinstance(await other.consume(bundle, "route"), Grant)
    denial = await keeper.authorize(bundle, "route")
    assert isinstance(denial, Denial)
    assert denial.why == "used up"


async def test_the_authority_is_one_for_all(keeper: Keeper, other: Keeper) -> None:
    first, again = await asyncio.gather(keeper.authority(), other.authority())
    assert (len(first), again) == (1, first)
    await keeper.put_authority([*first, *first])
    assert await other.authority() == (*first, *first)


async def test_the_authority_moves_with_its_store(
    tmp_path: Path, postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OO_HOME", str(tmp_path / "home"))
    source = str(tmp_path / "home")
    await asyncio.to_thread(create_store, source)
    async with open_store.open_store(source) as keeper:
        await keeper.put_route(Route("a", "https://a.test"))
        await keeper.put_bundle("one", ["a"])
        keys = await keeper.authority()
    await moving.migrate(source, postgres)
    async with open_store.open_store(postgres) as keeper:
        assert (await keeper.authority(), await keeper.bundle("one")) == (keys, ("a",))
        assert await rekey_store(postgres) != (0, None)
        assert await keeper.authority() == keys
