from __future__ import annotations

import asyncio

import pytest

from oo.gateway.errors import IntegrityError, StoreError
from oo.gateway.vault import Vault
from tests.support.vaults import CANARY, Kept


async def test_an_old_head_does_not_bring_an_old_version_back(kept: Kept) -> None:
    old = kept.rows("SELECT sealed FROM records WHERE kind = 'head' AND name = 'a'")[0][0]
    async with kept.open() as vault:
        await vault.put_secret("a", "a third value")
    kept.sql(f"UPDATE records SET sealed = x'{old.hex()}' WHERE kind = 'head' AND name = 'a'")
    async with kept.open() as vault:
        for work in (vault.secret("a"), vault.versions("a"), vault.rollback("a"), vault.put_secret("a", "a fourth")):
            with pytest.raises(IntegrityError, match="the versions of the secret 'a'"):
                await work
        # It can be given up, and begun again.
        await vault.remove("env", "env-a")
        await vault.remove("route", "route-a")
        await vault.remove("secret", "a")
        assert await vault.put_secret("a", "new") == 1


async def test_a_lost_head_does_not_have_the_next_write_go_over_the_first_version(kept: Kept) -> None:
    kept.sql("DELETE FROM records WHERE kind = 'head' AND name = 'a'")
    async with kept.open() as vault:
        with pytest.raises(IntegrityError):
            await vault.put_secret("a", "new")


async def test_a_secret_keeps_its_versions(vault: Vault) -> None:
    assert await vault.put_secret("a", "third") == 3
    assert [(each.version, each.current) for each in await vault.versions("a")] == [(1, False), (2, False), (3, True)]
    assert await vault.rollback("a") == 2
    assert await vault.secret("a") == f"{CANARY} a 2"
    assert await vault.rollback("a", 1) == 1
    assert await vault.secret("a") == f"{CANARY} a 1"
    assert await vault.rollback("a", 3) == 3
    assert await vault.secret("a") == "third"
    await vault.rollback("a", 1)
    # What was rolled back is not written over.
    assert await vault.put_secret("a", "fourth") == 4
    assert [each.version for each in await vault.versions("a") if each.current] == [4]
    assert await vault.rollback("a", 3) == 3
    assert await vault.secret("a") == "third"


async def test_there_is_no_way_back_to_a_version_that_is_not_there(vault: Vault) -> None:
    await vault.rollback("a")
    for version, said in ((None, "before 1"), (0, "0"), (3, "3"), (-1, "-1")):
        with pytest.raises(StoreError, match=f"the secret 'a' has no version {said}$"):
            await vault.rollback("a", version)
    for work in (vault.rollback("none"), vault.versions("none")):
        with pytest.raises(StoreError, match="there is no secret 'none'"):
            await work
    assert await vault.secret("a") == f"{CANARY} a 1"


async def test_a_rollback_beside_writes_of_another_process_loses_none(kept: Kept, vault: Vault) -> None:
    written = []
    async with kept.open() as other:
        for n in range(25):
            version, _ = await asyncio.gather(other.put_secret("a", f"value {n}"), vault.rollback("a", 1))
            written.append((version, f"value {n}"))
    assert len({version for version, _ in written}) == 25
    for version, value in written:
        await vault.rollback("a", version)
        assert await vault.secret("a") == value
