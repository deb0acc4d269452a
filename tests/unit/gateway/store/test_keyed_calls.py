from __future__ import annotations

import asyncio

import pytest

from oo.gateway.errors import StoreError
from oo.gateway.models import StoredResponse
from oo.gateway.store import claim_rows
from oo.gateway.store.sqlite_uses import Judged
from oo.gateway.vault import Vault
from tests.support.vaults import claimed, writes

RESULT = StoredResponse(200, (), b"x")


@pytest.fixture
async def caller(vault: Vault) -> tuple[str, str]:
    token = await vault.issue("route", "route-a", uses=5)
    return token, vault.id_of(token)


async def test_a_repeat_asks_nothing_of_the_writer(vault: Vault, caller: tuple[str, str]) -> None:
    fence = await claimed(vault, caller, "key")
    await vault.complete(caller[1], "key", fence, b"digest", RESULT)
    before = writes(vault)
    vault._database.writer.execute("BEGIN IMMEDIATE")  # nobody else could write
    for _ in range(3):
        assert await vault.claim(caller[0], "key", 60) == "taken"
        assert await vault.result(caller[1], "key", b"digest") == RESULT
    vault._database.writer.execute("ROLLBACK")
    assert writes(vault) == before


async def test_two_who_claim_at_once_make_one_call(vault: Vault, caller: tuple[str, str]) -> None:
    # Each has looked before the other wrote.
    (token,) = [each for each in await vault.tokens() if each.id == caller[1]]
    call = vault._call("key")
    claiming = claim_rows.Claiming(Judged(token, "route", vault._database.epoch), call, b"fence", 60)
    asked = [vault._database.ask(claim_rows.claim_all, claiming) for _ in range(3)]
    assert await asyncio.gather(*asked[:2]) == [None, "taken"]
    assert await asked[2] == "taken"
    assert [each.used for each in await vault.tokens() if each.id == caller[1]] == [1]


async def test_an_answer_that_cannot_be_kept_is_told_and_the_call_is_made_all_the_same(
    vault: Vault, caller: tuple[str, str]
) -> None:
    fence = await claimed(vault, caller, "key")
    with pytest.raises(StoreError, match="no room"):
        await vault.complete(caller[1], "key", fence, b"digest", StoredResponse(200, (), bytes(65 << 20)))
    assert await vault.result(caller[1], "key", b"digest") == "gone"
    assert await vault.claim(caller[0], "key", 60) == "taken"


async def test_a_crash_between_the_answer_and_its_note_leaves_a_call_that_is_made_again(
    vault: Vault, caller: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise StoreError("killed")

    fence = await claimed(vault, caller, "key", seconds=-1)
    monkeypatch.setattr(claim_rows, "complete_all", killed)
    with pytest.raises(StoreError, match="killed"):
        await vault.complete(caller[1], "key", fence, b"digest", RESULT)
    monkeypatch.undo()
    assert await vault.result(caller[1], "key", b"digest") is None
    fence = await claimed(vault, caller, "key")
    again = StoredResponse(200, (), b"again")
    await vault.complete(caller[1], "key", fence, b"digest", again)
    assert await vault.result(caller[1], "key", b"digest") == again


async def test_answers_outlive_a_rekey(vault: Vault, caller: tuple[str, str]) -> None:
    from oo.gateway.sealing import Keyring, new_key

    fence = await claimed(vault, caller, "key")
    await vault.complete(caller[1], "key", fence, b"digest", RESULT)
    masters = Keyring([*vault._keys.masters.own, new_key()])
    for deep in (False, True, True):
        await vault.rekey(masters, deep=deep)
        assert await vault.result(caller[1], "key", b"digest") == RESULT
    assert len(vault._keys.results) == 3
