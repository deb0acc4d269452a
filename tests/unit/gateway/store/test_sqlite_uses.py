from __future__ import annotations

import asyncio
from typing import Any

import pytest

from oo.gateway.errors import IntegrityError
from oo.gateway.models import Denial, Rate, Token
from oo.gateway.store import sqlite_uses
from oo.gateway.vault import Vault
from tests.support.vaults import Kept


async def row(vault: Vault, label: str) -> Token:
    (found,) = [each for each in await vault.tokens() if each.label == label]
    return found


async def ask(vault: Vault, work: Any, token: Token) -> Denial | None:
    judged = sqlite_uses.Judged(token, token.kind, vault._database.epoch)
    outcome: Denial | None = await vault._database.ask(work, judged)
    return outcome


async def test_each_use_is_counted_in_its_own_row(vault: Vault) -> None:
    for label in ("mine", "other"):
        await vault.issue("secret", "a", label=label, uses=2)
    token = await row(vault, "mine")
    outcomes = [await ask(vault, sqlite_uses.consume_all, token) for _ in range(3)]
    assert outcomes == [None, None, token.denied("used up")]
    assert ((await row(vault, "mine")).used, (await row(vault, "other")).used) == (2, 0)


@pytest.mark.parametrize("column", ["used", "tat"])
async def test_a_damaged_count_is_seen(kept: Kept, column: str) -> None:
    async with kept.open() as vault:
        await vault.issue("secret", "a", label="mine", uses=2)
        token = await row(vault, "mine")
        kept.sql(f"UPDATE tokens SET {column} = x'00' WHERE id = '{token.id}'")
        with pytest.raises(IntegrityError, match="the vault is damaged"):
            await ask(vault, sqlite_uses.consume_all, token)


async def test_a_rate_counts_what_no_limit_of_uses_counts(vault: Vault) -> None:
    for label, uses in (("mine", None), ("other", 2)):
        await vault.issue("secret", "a", label=label, uses=uses, rate=Rate(1, 60.0))
    charged = []
    for token in (await row(vault, "mine"), await row(vault, "other")):
        for _ in range(2):
            charged.append(await ask(vault, sqlite_uses.charge_all, token))
    assert [each is None for each in charged] == [True, False] * 2
    assert ((await row(vault, "mine")).used, (await row(vault, "other")).used) == (1, 0)


async def test_what_waits_is_counted_at_once_each_token_by_its_own_terms(vault: Vault) -> None:
    for label, uses in (("two", 2), ("many", 100), ("free", None)):
        await vault.issue("secret", "a", label=label, uses=uses)
    two, many, free = [await row(vault, label) for label in ("two", "many", "free")]
    asked = [ask(vault, sqlite_uses.consume_all, token) for token in (two, many, two, free, two, many)]
    assert await asyncio.gather(*asked) == [None] * 4 + [two.denied("used up"), None]
    assert [(await row(vault, label)).used for label in ("two", "many", "free")] == [2, 2, 0]


async def test_a_rate_gives_its_burst_to_those_who_wait_and_no_more(vault: Vault) -> None:
    await vault.issue("secret", "a", label="mine", rate=Rate(3, 60.0))
    token = await row(vault, "mine")
    outcomes = await asyncio.gather(*(ask(vault, sqlite_uses.charge_all, token) for _ in range(5)))
    assert [outcome and outcome.why for outcome in outcomes] == [None] * 3 + ["rate"] * 2


@pytest.mark.parametrize("change", ["revoked", "removed", "something else"])
async def test_none_is_counted_on_a_token_that_an_owner_ended_since_it_was_judged(vault: Vault, change: str) -> None:
    for label in ("mine", "other"):
        await vault.issue("secret", "a", label=label, uses=5)
    mine, other = await row(vault, "mine"), await row(vault, "other")
    judged = [sqlite_uses.Judged(token, "secret", vault._database.epoch) for token in (mine, other)]
    if change == "revoked":
        await vault.revoke(mine.id)
    elif change == "removed":
        await vault.remove_tokens(lambda token: token.id == mine.id)
    else:
        await vault.put_secret("b", "new")
    outcomes = await asyncio.gather(*(vault._database.ask(sqlite_uses.consume_all, each) for each in judged))
    expected = {"revoked": "revoked", "removed": "unknown", "something else": None}[change]
    assert [outcome and outcome.why for outcome in outcomes] == [expected, None]
    assert (await row(vault, "other")).used == 1
