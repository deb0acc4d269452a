from __future__ import annotations

import pytest

from oo.gateway import kept
from oo.gateway.models import Denial, StoredResponse
from oo.gateway.store import claim_rows
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
    fence = await claimed(vault, mine, "key")
    assert await vault.claim(mine[0], "key", 60) == "taken"
    assert await vault.result(mine[1], "key", b"digest") == "taken"
    others = await claimed(vault, other, "key")
    await vault.complete(mine[1], "key", fence, b"digest", result)
    assert await vault.claim(mine[0], "key", 60) == "taken"
    assert await vault.result(mine[1], "key", b"digest") == result
    assert await vault.result(mine[1], "key", b"another") == "other"
    assert await vault.result(mine[1], "unknown", b"digest") is None
    await vault.release(other[1], "key", others)
    await claimed(vault, other, "key", seconds=-1)
    # Nobody answers for that one any more.
    assert await vault.result(other[1], "key", b"digest") is None
    await claimed(vault, other, "key")


async def test_until_the_first_was_made_any_repeat_waits(vault: Vault, mine: Caller) -> None:
    fence = await claimed(vault, mine, "key")
    assert await vault.result(mine[1], "key", b"another") == "taken"
    await vault.complete(mine[1], "key", fence, b"digest", None)
    assert await vault.result(mine[1], "key", b"another") == "other"
    # Without an answer that is there it is not made again, however old its claim.
    assert await vault.result(mine[1], "key", b"digest") == "gone"
    assert await vault.claim(mine[0], "key", 60) == "taken"


async def test_a_claim_and_its_use_are_one_step(vault: Vault) -> None:
    caller = await issued(vault, "two", uses=2)
    await claimed(vault, caller, "one")
    for _ in range(3):
        assert await vault.claim(caller[0], "one", 60) == "taken"
    await claimed(vault, caller, "two")
    assert await vault.claim(caller[0], "three", 60) == Denial("used up", caller[1], label="two", target="route-a")
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
    fence = await claimed(vault, mine, "key", seconds=-1)
    assert await vault.renew(mine[1], "key", fence, 60)
    assert await vault.claim(mine[0], "key", 60) == "taken"
    # By another fence it is not known, and no renewal makes it shorter.
    assert not await vault.renew(mine[1], "key", b"another", 60)
    await vault.release(mine[1], "key", b"another")
    assert await vault.renew(mine[1], "key", fence, -1)
    assert await vault.claim(mine[0], "key", 60) == "taken"
    await vault.release(mine[1], "key", fence)
    await claimed(vault, mine, "key")


async def test_whoever_lost_a_claim_can_neither_hold_nor_keep_nor_end_it(vault: Vault, mine: Caller) -> None:
    late, stored = StoredResponse(200, (), b"late"), StoredResponse(200, (), b"mine")
    lost = await claimed(vault, mine, "key", seconds=-1)
    fence = await claimed(vault, mine, "key")
    assert not await vault.renew(mine[1], "key", lost, 60)
    for ended in (vault.complete(mine[1], "key", lost, b"late", late), vault.release(mine[1], "key", lost)):
        await ended
        assert await vault.claim(mine[0], "key", 60) == "taken"
    await vault.complete(mine[1], "key", fence, b"digest", stored)
    assert await vault.result(mine[1], "key", b"digest") == stored
    # What is done is done for its holder too.
    await vault.release(mine[1], "key", fence)
    assert not await vault.renew(mine[1], "key", fence, 60)
    await vault.complete(mine[1], "key", fence, b"another", None)
    assert await vault.result(mine[1], "key", b"digest") == stored


async def test_a_late_answer_of_a_lost_claim_is_never_a_repeats(vault: Vault, mine: Caller) -> None:
    lost = await claimed(vault, mine, "key", seconds=-1)
    fence = await claimed(vault, mine, "key")
    await vault.complete(mine[1], "key", fence, b"digest", StoredResponse(200, (), b"mine"))
    await vault.complete(mine[1], "key", lost, b"late", StoredResponse(200, (), b"late"))
    assert await vault.result(mine[1], "key", b"digest") == StoredResponse(200, (), b"mine")


async def make(vault: Vault, caller: Caller, count: int) -> None:
    """Make some calls, k0 and so on, whose answers are not kept."""
    for n in range(count):
        fence = await claimed(vault, caller, f"k{n}", seconds=-1)
        await vault.complete(caller[1], f"k{n}", fence, b"digest", None)


async def test_a_call_is_known_for_a_day_and_then_forgotten_a_few_at_a_time(
    vault: Vault, mine: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make(vault, mine, 20)
    held = await claimed(vault, mine, "held")
    monkeypatch.setattr(kept, "KEPT", 0.0)
    monkeypatch.setattr(claim_rows, "_OFTEN", 1)
    assert await vault.result(mine[1], "k0", b"digest") is None
    left = [await known(vault) for n in range(4) if await claimed(vault, mine, f"new{n}")]
    assert left == [21 + 1 - 8, 14 + 1 - 8, 7 + 1 - 4, 5]
    # However old, what is being made is known.
    assert await vault.renew(mine[1], "held", held, 60)


async def test_what_is_old_is_forgotten_now_and_then(
    vault: Vault, mine: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make(vault, mine, 14)
    monkeypatch.setattr(kept, "KEPT", 0.0)
    left = [await known(vault) for n in range(4) if await claimed(vault, mine, f"new{n}")]
    assert left == [15, 16, 3, 4]
    # A token whose first call this is, and perhaps its last.
    await make(vault, mine, 3)
    await claimed(vault, await issued(vault, "other"), "first")
    assert await known(vault) == 5


async def test_the_last_calls_of_a_token_are_known(vault: Vault, mine: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "MAX_CALLS", 5)
    other = await issued(vault, "other")
    await claimed(vault, other, "others")
    held = await claimed(vault, mine, "held")
    await make(vault, mine, 20)
    assert [await vault.result(mine[1], f"k{n}", b"digest") for n in range(14, 20)] == [None] + ["gone"] * 5
    assert await known(vault) == 5 + 2
    assert await vault.renew(mine[1], "held", held, 60)


async def known(vault: Vault) -> int:
    """How many calls have a row."""
    ((count,),) = vault._database.records.db.execute("SELECT count(*) FROM claims").fetchall()
    return int(count)
