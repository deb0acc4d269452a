from __future__ import annotations

import secrets
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from oo.gateway.errors import StoreError
from oo.gateway.models import Grant, Route, StoredResponse
from oo.gateway.postgres import PostgresStore
from oo.gateway.sealing import Keyring, new_key
from oo.gateway.store.postgres.place import parse
from oo.gateway.store.postgres.schema import GATEWAY_GRANTS, VERSION, create, exists
from tests.support.postgres import say


async def test_a_store_is_made_whole_or_not_at_all(postgres: str) -> None:
    connection = await asyncpg.connect(postgres)
    try:
        assert not await exists(connection)
        await say(postgres, "CREATE SCHEMA oo; CREATE TABLE oo.replicas (id text)")
        with pytest.raises(StoreError, match="has something of those names already"):
            await create(parse(postgres), Keyring([new_key()]))
        assert not await exists(connection)
        await say(postgres, "DROP TABLE oo.replicas")
        ring = Keyring([new_key()])
        await create(parse(postgres), ring)
        assert await exists(connection)
        assert dict(await connection.fetch("SELECT name, value FROM oo.meta")) == {"schema": VERSION}
        assert (
            await connection.fetchval("SELECT count(*) FROM oo.records WHERE kind = 'key' AND key = $1", ring.current)
            == 5
        )
        with pytest.raises(StoreError, match="there is a store at"):
            await create(parse(postgres), Keyring([new_key()]))
    finally:
        await connection.close()


def test_the_readme_has_the_grants_of_a_gateway() -> None:
    assert GATEWAY_GRANTS.strip() in Path("README.md").read_text("utf-8")


async def test_a_role_of_gateways_answers_callers_and_changes_nothing_of_an_owners(
    place: str, store: PostgresStore
) -> None:
    role = f"gateway_{secrets.token_hex(4)}"
    await say(place, f"CREATE ROLE {role} LOGIN; {GATEWAY_GRANTS.replace('gateway', role)}")
    url = urlsplit(place)
    mine = urlunsplit(url._replace(netloc=f"{role}@{url.netloc.rpartition('@')[2]}"))
    await store.put_secret("a", "one")
    await store.put_route(Route("r", "http://127.0.0.1:9"))
    token = await store.issue("route", "r", uses=9)
    async with PostgresStore(mine, lambda: store._keys.masters) as gateway:
        assert isinstance(await gateway.authorize(token, "route"), Grant)
        assert isinstance(await gateway.consume(token, "route"), Grant)
        fence = await gateway.claim(token, "k", 60)
        assert isinstance(fence, bytes)
        assert await gateway.renew(gateway.id_of(token), "k", fence, 60)
        await gateway.complete(gateway.id_of(token), "k", fence, b"d", StoredResponse(200, (), b"x"))
        assert await gateway.result(gateway.id_of(token), "k", b"d") == StoredResponse(200, (), b"x")
        await gateway._reaper.reap()
        # A rotated credential is a new version, and no other.
        assert await gateway.put_secret("a", "two") == 2
        assert await gateway.secret("a") == "two"
        for refused in (
            gateway.put_route(Route("s", "http://127.0.0.1:9")),
            gateway.issue("route", "r"),
            gateway.revoke(gateway.id_of(token)),
            gateway.remove("secret", "a"),
            gateway.rollback("a", 1),
        ):
            with pytest.raises(StoreError, match="the role may not do that"):
                await refused
        epoch = (await gateway._epochs.current()).version
        for of, version in ((epoch - 1, 3), (epoch, 2), (epoch, 4), (epoch + 1, 3)):
            assert not await gateway._keep(of, "a", version, "k", b"x", b"x")
    assert [each.version for each in await store.versions("a")] == [1, 2]
    await say(place, f"DROP OWNED BY {role}; DROP ROLE {role}")
