"""The key of the authority is a sealed record: it is carried by a new master key and by a move, and nobody reads it in
the file."""

from __future__ import annotations

from pathlib import Path

from oo.gateway.postgres import PostgresStore
from oo.gateway.sealing import Keyring, new_key
from oo.gateway.vault import Vault
from tests.support.vaults import Kept


async def test_it_survives_a_new_master_key(kept: Kept) -> None:
    keys = [new_key(), new_key()]
    async with kept.open() as vault:
        before = await vault.authority()
    home = Path(f"{kept.home}-2")
    Vault.create(home, Keyring(keys[:1]))
    ring = Keyring(keys[:1])
    async with Vault(home, lambda: ring) as vault:
        await vault.put_authority(before)
        ring = Keyring(keys)
        await vault.rekey(ring)
    async with Vault(home, lambda: Keyring(keys[1:])) as vault:
        assert await vault.authority() == before
    assert before[0].private.splitlines()[1].encode() not in (home / "vault.db").read_bytes()


async def test_every_store_makes_it_once(store: PostgresStore) -> None:
    first = await store.authority()
    assert (len(first), await store.authority()) == (1, first)
    await store.put_authority([*first, *first])
    assert await store.authority() == (*first, *first)
