"""What the benchmarks measure beside us does what it stands for, and the table says it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest

from benchmarks import store_floors
from benchmarks.measure import FLOOR, once
from benchmarks.report import table
from oo.gateway.sealing import Keyring, new_key
from oo.gateway.vault import Vault


async def asked(url: str, query: str) -> tuple[int, ...]:
    connection = await asyncpg.connect(url)
    try:
        return tuple(await connection.fetchrow(query))
    finally:
        await connection.close()


@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
async def test_a_stores_floor_counts_each_use_and_keeps_each_answer(
    engine: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    place = str(tmp_path) if engine == "sqlite" else request.getfixturevalue("postgres")
    await store_floors.make(place)
    async with store_floors.opened(place) as floor:
        await floor.uses()
        await floor.claims()
    query = "SELECT (SELECT used FROM uses), (SELECT count(*) FROM claims WHERE length(answer) = 500)"
    if engine == "sqlite":
        with closing(sqlite3.connect(tmp_path / "floor.db")) as db:
            found = db.execute(query).fetchone()
    else:
        found = await asked(place, query)
    assert found == (2 * store_floors.AT_ONCE, store_floors.AT_ONCE)


async def test_the_floor_of_a_move_takes_every_record_and_token(tmp_path: Path, postgres: str) -> None:
    key = Keyring([new_key()])
    Vault.create(tmp_path, key)
    async with Vault(tmp_path, lambda: key) as vault:
        await vault.put_secret("s", "value")
        await vault.issue("secret", "s")
    with closing(sqlite3.connect(tmp_path / "vault.db")) as db:
        there = db.execute("SELECT (SELECT count(*) FROM records), (SELECT count(*) FROM tokens)").fetchone()
    assert await store_floors.move(str(tmp_path), postgres) == sum(there)
    assert await asked(postgres, "SELECT (SELECT count(*) FROM records), (SELECT count(*) FROM tokens)") == there


def test_the_table_says_how_far_a_row_is_from_its_floor_and_who_has_no_such_thing() -> None:
    slow = replace(once("calls", "/s", {"ours": 2.0, FLOOR: 8.0}), lacking=("Another",))
    large = once("memory", "MiB", {"ours": 8.0, FLOOR: 2.0}, target=4.0)
    *_, first, second = table([slow, large]).splitlines()
    assert first == "| calls | 2 /s | floor 8, Another has none |  |  |  |  | 4 x |"
    assert second == "| memory | 8 MiB | floor 2 |  |  | at most 4 MiB | NO | 4 x |"
