from __future__ import annotations

import pytest

from oo.gateway.errors import StoreError
from oo.gateway.store.rows import TokenRow
from oo.gateway.vault import Vault
from tests.support.vaults import Kept


async def test_rows_are_found_by_their_places_in_order(vault: Vault) -> None:
    rows = vault._database.records.rows
    assert await rows.places("secret") == [("secret", name, n) for name in "ab" for n in (1, 2)]
    assert await rows.places("secret", "b") == [("secret", "b", 1), ("secret", "b", 2)]
    assert [place for place, _ in await rows.every("env")] == [("env", "env-a", 0), ("env", "env-b", 0)]
    assert await rows.find(("env", "none", 0)) is None
    assert (await rows.latest("secret", "a"), await rows.latest("secret", "none")) == (2, None)
    assert await rows.meta("none") is None
    tokens = await rows.tokens()
    assert tokens == sorted(tokens)
    assert await rows.token(tokens[0].hash) == TokenRow(tokens[0].hash, tokens[0].id, 0, 0)
    assert await rows.token(b"none") is None


async def test_an_epoch_is_drawn_anew_by_an_owners_change(vault: Vault) -> None:
    rows, seen = vault._database.records.rows, set()
    for n in range(3):
        await vault.put_secret("a", str(n))
        seen.add(rows.said("moved")[1])
    assert len(seen) == 3


async def test_a_file_that_fails_is_a_store_error(kept: Kept, vault: Vault) -> None:
    kept.sql("DROP TABLE meta")
    with pytest.raises(StoreError, match=r"the vault .* failed"):
        await vault._database.records.rows.meta("key")
