from __future__ import annotations

import pytest

from oo.gateway.errors import IntegrityError, StoreError
from oo.gateway.models import Denial, Rate, Token
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


def row(vault: Vault, label: str) -> Token:
    (found,) = [each for each in token_rows.every(vault._database.records) if each.label == label]
    return found


async def test_a_token_is_found_by_its_hash_alone(vault: Vault) -> None:
    await vault.issue("secret", "a", label="mine", uses=3)
    token = row(vault, "mine")
    records = vault._database.records
    assert token_rows.find(records, bytes.fromhex(token.hash)) == token
    assert token_rows.find(records, bytes.fromhex(token.hash)[::-1]) is None


async def test_each_use_is_counted_in_its_own_row(vault: Vault) -> None:
    for label in ("mine", "other"):
        await vault.issue("secret", "a", label=label, uses=2)
    token = row(vault, "mine")
    outcomes = [await vault._database.write(lambda records: token_rows.consume(records, token)) for _ in range(3)]
    assert outcomes == [None, None, Denial("used up", token.id, label="mine")]
    assert (row(vault, "mine").used, row(vault, "other").used) == (2, 0)


async def test_a_revocation_keeps_its_first_time(vault: Vault) -> None:
    await vault.issue("secret", "a", label="mine")
    for _ in range(2):
        await vault._database.write(lambda records: token_rows.revoke(records, row(vault, "mine").id))
    first = row(vault, "mine").revoked
    await vault._database.write(lambda records: token_rows.revoke(records, row(vault, "mine").id))
    assert first is not None
    assert row(vault, "mine").revoked == first
    with pytest.raises(StoreError, match="there is no token 'none'"):
        await vault._database.write(lambda records: token_rows.revoke(records, "none"))


async def test_a_token_of_before_its_calls_were_counted_has_no_limit_of_its_own(vault: Vault) -> None:
    await vault.issue("secret", "a", label="mine", concurrency=2)
    token = row(vault, "mine")
    assert token.grant.concurrency == 2

    def as_before(records: Records) -> None:
        stored = records.find_json("token", token.id)
        del stored["concurrency"]
        records.put("token", token.id, 0, stored)

    await vault._database.write(as_before)
    assert row(vault, "mine").grant.concurrency is None


@pytest.mark.parametrize("column", ["used", "tat"])
async def test_a_damaged_count_is_seen(kept: Kept, column: str) -> None:
    async with kept.open() as vault:
        await vault.issue("secret", "a", label="mine", uses=2)
        token = row(vault, "mine")
        kept.sql(f"UPDATE tokens SET {column} = x'00' WHERE id = '{token.id}'")
        with pytest.raises(IntegrityError, match="the vault is damaged"):
            await vault._database.write(lambda records: token_rows.consume(records, token))


async def test_a_rate_counts_what_no_limit_of_uses_counts(vault: Vault) -> None:
    for label, uses in (("mine", None), ("other", 2)):
        await vault.issue("secret", "a", label=label, uses=uses, rate=Rate(1, 60.0))
    charged = []
    for token in (row(vault, "mine"), row(vault, "other")):
        for _ in range(2):
            charged.append(await vault._database.write(lambda records, each=token: token_rows.charge(records, each)))
    assert [each is None for each in charged] == [True, False] * 2
    assert (row(vault, "mine").used, row(vault, "other").used) == (1, 0)
