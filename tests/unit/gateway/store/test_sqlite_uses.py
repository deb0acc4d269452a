from __future__ import annotations

import pytest

from oo.gateway.errors import IntegrityError
from oo.gateway.models import Denial, Rate, Token
from oo.gateway.store import sqlite_uses
from oo.gateway.vault import Vault
from tests.support.vaults import Kept


async def row(vault: Vault, label: str) -> Token:
    (found,) = [each for each in await vault.tokens() if each.label == label]
    return found


async def test_each_use_is_counted_in_its_own_row(vault: Vault) -> None:
    for label in ("mine", "other"):
        await vault.issue("secret", "a", label=label, uses=2)
    token = await row(vault, "mine")
    outcomes = [await vault._database.write(lambda records: sqlite_uses.consume(records.db, token)) for _ in range(3)]
    assert outcomes == [None, None, Denial("used up", token.id, label="mine")]
    assert ((await row(vault, "mine")).used, (await row(vault, "other")).used) == (2, 0)


@pytest.mark.parametrize("column", ["used", "tat"])
async def test_a_damaged_count_is_seen(kept: Kept, column: str) -> None:
    async with kept.open() as vault:
        await vault.issue("secret", "a", label="mine", uses=2)
        token = await row(vault, "mine")
        kept.sql(f"UPDATE tokens SET {column} = x'00' WHERE id = '{token.id}'")
        with pytest.raises(IntegrityError, match="the vault is damaged"):
            await vault._database.write(lambda records: sqlite_uses.consume(records.db, token))


async def test_a_rate_counts_what_no_limit_of_uses_counts(vault: Vault) -> None:
    for label, uses in (("mine", None), ("other", 2)):
        await vault.issue("secret", "a", label=label, uses=uses, rate=Rate(1, 60.0))
    charged = []
    for token in (await row(vault, "mine"), await row(vault, "other")):
        for _ in range(2):
            charged.append(
                await vault._database.write(lambda records, each=token: sqlite_uses.charge(records.db, each))
            )
    assert [each is None for each in charged] == [True, False] * 2
    assert ((await row(vault, "mine")).used, (await row(vault, "other")).used) == (1, 0)
