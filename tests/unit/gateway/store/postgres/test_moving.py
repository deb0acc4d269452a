"""Moves between the stores are in tests/unit/gateway/test_moving.py; here, what is of the database alone."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from oo.gateway.errors import StoreError, StoreUnavailable
from oo.gateway.postgres import PostgresStore
from oo.gateway.store.moving import Counter, Made, Meta, Record, Row
from oo.gateway.store.postgres.moving import PostgresSource, PostgresTarget
from oo.gateway.store.postgres.place import parse


async def rows(*given: Row | Exception) -> AsyncGenerator[Row, None]:
    for row in given:
        if isinstance(row, Exception):
            raise row
        yield row


async def test_a_store_is_made_whole_or_not_at_all(postgres: str) -> None:
    target = PostgresTarget(parse(postgres))
    many = [Counter(b"%d" % n, str(n), n, 0.5) for n in range(600)]
    call = Made("t", b"k", b"f", b"d", 1.0, 2.0, True, 3, 4, (b"p", b"q"))
    with pytest.raises(ZeroDivisionError):
        await target.fill(rows(Meta("key", "k"), *many, ZeroDivisionError()))
    assert await target.came() is None
    given: tuple[Row, ...] = (Meta("came", "move"), Record("env", "e", 0, "k", b"x"), *many, call)
    assert await target.fill(rows(*given)) == 603
    assert await target.came() == "move"
    with pytest.raises(StoreError, match="there is a store at"):
        await target.fill(rows())
    source = PostgresSource(parse(postgres))
    found = [row async for row in source.rows()]
    assert sorted(map(repr, found)) == sorted(map(repr, given))
    await source.close()
    await target.close()


async def test_an_empty_store_is_one(postgres: str) -> None:
    target = PostgresTarget(parse(postgres))
    assert await target.fill(rows()) == 0
    assert await target.came() == ""


async def test_a_store_that_is_frozen_opens_nothing_until_it_is_thawed(place: str, store: PostgresStore) -> None:
    source = PostgresSource(parse(place))
    await store.put_secret("a", "x")
    await source.freeze("id /elsewhere")
    for asked in (store.secret("a"), store.names("secret"), store.put_secret("a", "y")):
        store._epochs.expire()
        with pytest.raises(StoreUnavailable, match="has moved to /elsewhere"):
            await asked
    await source.thaw()
    await source.close()
    assert await store.put_secret("a", "y") == 2
