from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from oo.gateway.postgres import PostgresStore, create
from oo.gateway.sealing import Keyring, new_key
from oo.gateway.vault import Vault
from tests.support.vaults import RING, Kept


@pytest.fixture
async def kept(tmp_path: Path) -> Kept:
    return await Kept(tmp_path / "home", Keyring([new_key()])).fill()


@pytest.fixture
async def vault(kept: Kept) -> AsyncIterator[Vault]:
    async with kept.open() as vault:
        yield vault


@pytest.fixture
async def place(postgres: str) -> str:
    """The URL of a new store."""
    await create(postgres, RING)
    return postgres


@pytest.fixture
async def store(place: str) -> AsyncIterator[PostgresStore]:
    async with PostgresStore(place, lambda: RING) as store:
        yield store
