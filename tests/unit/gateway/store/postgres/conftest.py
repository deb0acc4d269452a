from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from oo.gateway.postgres import PostgresStore, create
from oo.gateway.sealing import Keyring, new_key
from oo.gateway.store.postgres.connections import Connections
from oo.gateway.store.postgres.place import parse

RING = Keyring([new_key()])


@pytest.fixture
async def place(postgres: str) -> str:
    """The URL of a new store."""
    await create(postgres, RING)
    return postgres


@pytest.fixture
async def store(place: str) -> AsyncIterator[PostgresStore]:
    async with PostgresStore(place, lambda: RING) as store:
        yield store


@pytest.fixture
async def connections(place: str) -> AsyncIterator[Connections]:
    connections = Connections(parse(place), 2)
    yield connections
    await connections.close()
