from __future__ import annotations

from oo.gateway.models import StoredResponse
from oo.gateway.vault import Vault
from tests.support.vaults import claimed


async def test_a_first_result_is_kept_for_its_token_key_and_body(vault: Vault) -> None:
    result = StoredResponse(201, (("X-A", "1"),), b"\xff body")
    until = await claimed(vault, "id", "key")
    assert await vault.claim("id", "key", b"digest", 60) == "taken"
    others = await claimed(vault, "other", "key")
    await vault.complete("id", "key", until, result)
    assert await vault.claim("id", "key", b"digest", 60) == result
    assert await vault.claim("id", "key", b"another", 60) == "other"
    await vault.release("other", "key", others)
    await claimed(vault, "other", "key", seconds=-1)
    # Nobody answers for that one any more.
    await claimed(vault, "other", "key")


async def test_a_claim_is_held_as_long_as_it_is_renewed(vault: Vault) -> None:
    until = await claimed(vault, "id", "key", seconds=-1)
    renewed = await vault.renew("id", "key", until, 60)
    assert renewed is not None
    assert renewed > until + 60
    assert await vault.claim("id", "key", b"digest", 60) == "taken"
    # By its end from before it is not known any more.
    assert await vault.renew("id", "key", until, 60) is None
    await vault.release("id", "key", until)
    assert await vault.claim("id", "key", b"digest", 60) == "taken"
    await vault.release("id", "key", renewed)
    await claimed(vault, "id", "key")


async def test_whoever_lost_a_claim_can_neither_hold_nor_keep_nor_end_it(vault: Vault) -> None:
    late, mine = StoredResponse(200, (), b"late"), StoredResponse(200, (), b"mine")
    lost = await claimed(vault, "id", "key", seconds=-1)
    until = await claimed(vault, "id", "key")
    assert await vault.renew("id", "key", lost, 60) is None
    for ended in (vault.complete("id", "key", lost, late), vault.release("id", "key", lost)):
        await ended
        assert await vault.claim("id", "key", b"digest", 60) == "taken"
    await vault.complete("id", "key", until, mine)
    await vault.complete("id", "key", lost, late)
    assert await vault.claim("id", "key", b"digest", 60) == mine
