from __future__ import annotations

import pytest

from oo.gateway.errors import IntegrityError, StoreError
from oo.gateway.models import Token
from oo.gateway.store import token_rows
from oo.gateway.store.records import Records
from oo.gateway.vault import Vault
from tests.support.vaults import Kept


async def test_two_tokens_that_change_places_open_nothing(kept: Kept) -> None:
    (one, first), (other, second) = kept.rows("SELECT id, hash FROM tokens")
    kept.sql(
        f"UPDATE tokens SET id = 'x' WHERE id = '{one}'",
        f"UPDATE tokens SET id = '{one}' WHERE id = '{other}'",
        f"UPDATE tokens SET id = '{other}' WHERE id = 'x'",
    )
    async with kept.open() as vault:
        for token in kept.tokens.values():
            with pytest.raises(IntegrityError, match="is not the one that was stored there"):
                await vault.consume(token, "secret")
        with pytest.raises(IntegrityError):
            await vault.tokens()


async def row(vault: Vault, label: str) -> Token:
    (found,) = [each for each in await vault.tokens() if each.label == label]
    return found


async def test_a_token_is_found_by_its_hash_alone(vault: Vault) -> None:
    await vault.issue("secret", "a", label="mine", uses=3)
    token = await row(vault, "mine")
    records = vault._database.records
    assert await token_rows.find(records, bytes.fromhex(token.hash)) == token
    assert await token_rows.find(records, bytes.fromhex(token.hash)[::-1]) is None


async def test_a_revocation_keeps_its_first_time(vault: Vault) -> None:
    await vault.issue("secret", "a", label="mine")
    token = await row(vault, "mine")
    for _ in range(2):
        await vault.revoke(token.id)
    first = (await row(vault, "mine")).revoked
    await vault.revoke(token.id)
    assert first is not None
    assert (await row(vault, "mine")).revoked == first
    with pytest.raises(StoreError, match="there is no token 'none'"):
        await vault.revoke("none")


async def test_a_token_of_before_its_calls_were_counted_has_no_limit_of_its_own(vault: Vault) -> None:
    await vault.issue("secret", "a", label="mine", concurrency=2)
    token = await row(vault, "mine")
    assert token.grant.concurrency == 2

    async def as_before(records: Records) -> None:
        stored = await records.find_json("token", token.id)
        del stored["concurrency"]
        await records.put("token", token.id, 0, stored)

    await vault._change(as_before)
    assert (await row(vault, "mine")).grant.concurrency is None
