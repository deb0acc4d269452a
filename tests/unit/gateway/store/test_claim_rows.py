from __future__ import annotations

import pytest

from oo.gateway.models import Denial, StoredResponse
from oo.gateway.vault import Vault
from tests.support.vaults import claimed

Caller = tuple[str, str]


async def issued(vault: Vault, label: str, uses: int | None = None) -> Caller:
    """A token for a route, and its id."""
    token = await vault.issue("route", "route-a", label=label, uses=uses)
    (identity,) = [each.id for each in await vault.tokens() if each.label == label]
    return token, identity


@pytest.fixture
async def mine(vault: Vault) -> Caller:
    return await issued(vault, "mine")


async def test_a_first_result_is_kept_for_its_token_key_and_body(vault: Vault, mine: Caller) -> None:
    result = StoredResponse(201, (("X-A", "1"),), b"\xff body")
    other = await issued(vault, "other")
    until = await claimed(vault, mine, "key")
    assert await vault.claim(mine[0], "key", 60) == "taken"
    assert await vault.result(mine[1], "key", b"digest") == "taken"
    others = await claimed(vault, other, "key")
    await vault.complete(mine[1], "key", until, result)
    assert await vault.claim(mine[0], "key", 60) == "taken"
    assert await vault.result(mine[1], "key", b"digest") == result
    assert await vault.result(mine[1], "key", b"another") == "other"
    assert await vault.result(mine[1], "unknown", b"digest") is None
    await vault.release(other[1], "key", others)
    await claimed(vault, other, "key", seconds=-1)
    # Nobody answers for that one any more.
    assert await vault.result(other[1], "key", b"digest") is None
    await claimed(vault, other, "key")


async def test_until_the_body_of_the_first_has_come_any_repeat_waits(vault: Vault, mine: Caller) -> None:
    until = await vault.claim(mine[0], "key", 60)
    assert isinstance(until, float)
    assert await vault.result(mine[1], "key", b"another") == "taken"
    assert await vault.bind(mine[1], "key", until, b"digest")
    assert await vault.result(mine[1], "key", b"another") == "other"


async def test_a_claim_and_its_use_are_one_step(vault: Vault) -> None:
    caller = await issued(vault, "two", uses=2)
    await claimed(vault, caller, "one")
    for _ in range(3):
        assert await vault.claim(caller[0], "one", 60) == "taken"
    await claimed(vault, caller, "two")
    assert await vault.claim(caller[0], "three", 60) == Denial("used up", caller[1], label="two")
    # One that is used up writes nothing.
    assert await vault.result(caller[1], "three", b"digest") is None
    assert await vault.claim(caller[0], "two", 60) == "taken"
    assert [each.used for each in await vault.tokens() if each.id == caller[1]] == [2]


@pytest.mark.parametrize("revoked", [True, False])
async def test_what_opens_no_route_claims_nothing(vault: Vault, mine: Caller, revoked: bool) -> None:
    if revoked:
        await vault.revoke(mine[1])
    token = mine[0] if revoked else await vault.issue("secret", "a")
    assert isinstance(await vault.claim(token, "key", 60), Denial)


async def test_a_claim_is_held_as_long_as_it_is_renewed(vault: Vault, mine: Caller) -> None:
    until = await claimed(vault, mine, "key", seconds=-1)
    renewed = await vault.renew(mine[1], "key", until, 60)
    assert renewed is not None
    assert renewed > until + 60
    assert await vault.claim(mine[0], "key", 60) == "taken"
    # By its end from before it is not known any more.
    assert await vault.renew(mine[1], "key", until, 60) is None
    await vault.release(mine[1], "key", until)
    assert await vault.claim(mine[0], "key", 60) == "taken"
    await vault.release(mine[1], "key", renewed)
    await claimed(vault, mine, "key")


async def test_whoever_lost_a_claim_can_neither_hold_nor_keep_nor_end_it(vault: Vault, mine: Caller) -> None:
    late, kept = StoredResponse(200, (), b"late"), StoredResponse(200, (), b"mine")
    lost = await claimed(vault, mine, "key", seconds=-1)
    until = await claimed(vault, mine, "key")
    assert await vault.renew(mine[1], "key", lost, 60) is None
    assert not await vault.bind(mine[1], "key", lost, b"another")
    for ended in (vault.complete(mine[1], "key", lost, late), vault.release(mine[1], "key", lost)):
        await ended
        assert await vault.claim(mine[0], "key", 60) == "taken"
    await vault.complete(mine[1], "key", until, kept)
    await vault.complete(mine[1], "key", lost, late)
    assert await vault.result(mine[1], "key", b"digest") == kept
