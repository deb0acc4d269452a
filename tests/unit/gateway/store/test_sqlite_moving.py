"""Moves between the stores are in tests/unit/gateway/test_moving.py; here, what is of the files alone."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from oo.gateway.errors import StoreError
from oo.gateway.store.moving import Made, Meta, Row
from oo.gateway.store.sqlite_moving import SQLiteSource, SQLiteTarget
from oo.gateway.vault import Vault
from tests.support.vaults import ALL, Kept


async def rows(*given: Row | Exception) -> AsyncGenerator[Row, None]:
    for row in given:
        if isinstance(row, Exception):
            raise row
        yield row


async def test_a_file_is_made_whole_or_not_at_all(tmp_path: Path) -> None:
    target = SQLiteTarget(tmp_path / "vault.db", tmp_path / "results.db")
    call = Made("t", b"k", b"f", b"d", 1.0, 2.0, True, 3, 4, (b"p",))
    with pytest.raises(ZeroDivisionError):
        await target.fill(rows(Meta("key", "k"), call, ZeroDivisionError()))
    assert [each.name for each in tmp_path.iterdir()] == []
    assert await target.came() is None
    assert await target.fill(rows(Meta("came", "move"), call)) == 2
    assert await target.came() == "move"
    with pytest.raises(StoreError, match="there is a vault at"):
        await target.fill(rows())
    with pytest.raises(StoreError, match="there is a file at"):
        await SQLiteTarget(tmp_path / "vault.db", None).fill(rows())
    assert {each.name for each in tmp_path.iterdir()} >= {"vault.db", "results.db"}


async def test_a_file_that_is_frozen_is_written_by_nobody_until_it_is_thawed(kept: Kept, vault: Vault) -> None:
    source = SQLiteSource(kept.path)
    assert await source.moved() is None
    await source.freeze("id /elsewhere")
    assert await source.moved() == "id /elsewhere"
    with pytest.raises(StoreError, match="has moved to /elsewhere"):
        await vault.put_secret("a", "x")
    with pytest.raises(StoreError, match="has moved"):  # where it was looked at before
        await vault._database.write(lambda records: records.db.execute("UPDATE tokens SET used = used + 1"))
    await source.thaw()
    await source.close()
    assert await vault.put_secret("a", "x") == 3
    await vault.rollback("a", 2)
    assert await kept.assert_harmless() == ALL


async def test_of_a_vault_that_was_never_asked_for_an_answer_there_are_none(kept: Kept) -> None:
    async with kept.open() as vault:
        token = await vault.issue("route", "route-a")
        fence = await vault.claim(token, "k", 60)
        assert isinstance(fence, bytes)
        await vault.complete(vault.id_of(token), "k", fence, b"d", None)
    for results in (None, kept.home / "results.db"):
        source = SQLiteSource(kept.path, results)
        found = [row async for row in source.rows() if isinstance(row, Made)]
        assert [(row.done, row.pieces) for row in found] == [(True, ())]
        await source.close()
