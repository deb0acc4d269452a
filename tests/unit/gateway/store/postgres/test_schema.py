from __future__ import annotations

import asyncpg
import pytest

from oo.gateway.errors import StoreError
from oo.gateway.sealing import Keyring, new_key
from oo.gateway.store.postgres.place import parse
from oo.gateway.store.postgres.schema import VERSION, create, exists
from tests.support.postgres import say


async def test_a_store_is_made_whole_or_not_at_all(postgres: str) -> None:
    connection = await asyncpg.connect(postgres)
    try:
        assert not await exists(connection)
        await say(postgres, "CREATE SCHEMA oo; CREATE TABLE oo.replicas (id text)")
        with pytest.raises(asyncpg.DuplicateTableError):
            await create(parse(postgres), Keyring([new_key()]))
        assert not await exists(connection)
        await say(postgres, "DROP TABLE oo.replicas")
        ring = Keyring([new_key()])
        await create(parse(postgres), ring)
        assert await exists(connection)
        assert dict(await connection.fetch("SELECT name, value FROM oo.meta")) == {
            "key": ring.current,
            "schema": VERSION,
        }
        with pytest.raises(StoreError, match="there is a store at"):
            await create(parse(postgres), Keyring([new_key()]))
    finally:
        await connection.close()
