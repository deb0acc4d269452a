from __future__ import annotations

import random
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from oo.gateway.errors import IntegrityError
from oo.gateway.paths import VAULT_FILE
from oo.gateway.store.records import expect
from oo.gateway.vault import Vault
from tests.support.vaults import ALL, CANARY, Kept


async def test_the_same_value_is_sealed_anew_each_time(kept: Kept, vault: Vault) -> None:
    for _ in range(20):
        await vault.put_secret("same", "the same value")
    sealed = [row[0] for row in kept.rows("SELECT sealed FROM records")]
    assert len({each[:12] for each in sealed}) == len(sealed)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("secret", "a", 2), ("secret", "b", 2)),
        (("secret", "a", 1), ("secret", "a", 2)),
        (("head", "a", 0), ("head", "b", 0)),
        (("env", "env-a", 0), ("env", "env-b", 0)),
        (("route", "route-a", 0), ("route", "route-b", 0)),
        (("head", "a", 0), ("env", "env-a", 0)),
    ],
)
async def test_swapped_rows_are_seen(kept: Kept, one: tuple[str, str, int], other: tuple[str, str, int]) -> None:
    sealed = "SELECT sealed FROM records WHERE kind = ? AND name = ? AND version = ?"
    put = "UPDATE records SET sealed = ? WHERE kind = ? AND name = ? AND version = ?"
    with closing(sqlite3.connect(kept.path)) as db, db:
        first, second = (db.execute(sealed, place).fetchone()[0] for place in (one, other))
        db.execute(put, (second, *one))
        db.execute(put, (first, *other))
    assert await kept.assert_harmless() < ALL
    async with kept.open() as vault:

        async def read_all() -> None:
            for name in ("a", "b"):
                await vault.versions(name)
                await vault.environment(f"env-{name}")
                await vault.route(f"route-{name}")

        with pytest.raises(IntegrityError):
            await read_all()


async def test_a_row_under_another_name_or_version_is_seen(kept: Kept) -> None:
    kept.sql("DELETE FROM records WHERE kind = 'secret' AND name = 'a' AND version = 2")
    kept.sql("UPDATE records SET version = 2 WHERE kind = 'secret' AND name = 'a'")
    kept.sql("DELETE FROM records WHERE name = 'route-b'", "UPDATE records SET name = 'route-b' WHERE name = 'route-a'")
    async with kept.open() as vault:
        with pytest.raises(IntegrityError):
            await vault.secret("a")
        with pytest.raises(IntegrityError):
            await vault.route("route-b")
        assert await vault.secret("b") == f"{CANARY} b 2"


async def test_a_flip_in_any_column_is_seen_or_harmless(kept: Kept) -> None:
    assert await kept.assert_harmless() == ALL
    flips = 0
    with closing(sqlite3.connect(kept.path, isolation_level=None)) as db:
        for table, columns in {
            "meta": ("name", "value"),
            "records": ("kind", "name", "version", "key", "sealed"),
            "tokens": ("hash", "id", "used", "tat"),
        }.items():
            rows = db.execute(f"SELECT {', '.join(columns)} FROM {table}").fetchall()
            for row in rows:
                where = " AND ".join(f"{column} = ?" for column in columns)
                for place, column in enumerate(columns):
                    for flipped in _flips(row[place]):
                        after = (*row[:place], flipped, *row[place + 1 :])
                        db.execute("BEGIN")
                        try:
                            db.execute(f"UPDATE {table} SET {column} = ? WHERE {where}", (flipped, *row))
                        except sqlite3.IntegrityError:
                            db.execute("ROLLBACK")
                            continue
                        db.execute("COMMIT")
                        await kept.assert_harmless()
                        changed = db.execute(f"UPDATE {table} SET {column} = ? WHERE {where}", (row[place], *after))
                        assert changed.rowcount == 1
                        flips += 1
    assert flips > 200
    assert await kept.assert_harmless() == ALL


def _flips(value: object) -> list[object]:
    if isinstance(value, bytes):
        ends = (0, 11, 12, len(value) // 2, len(value) - 1)
        return [bytes(byte ^ 1 if n == end else byte for n, byte in enumerate(value)) for end in ends] + ["text"]
    if isinstance(value, str):
        return [value[:-1] + chr(ord(value[-1]) ^ 1), chr(ord(value[0]) ^ 1) + value[1:], value.encode()]
    if isinstance(value, int):
        return [value ^ 1, value ^ 2, b"blob"]
    return [1e300, -1e300, b"blob"]


async def test_a_flip_of_any_byte_of_the_file_is_seen_or_harmless(kept: Kept, tmp_path: Path) -> None:
    content = kept.path.read_bytes()
    seen = 0
    chance = random.Random(1)
    for begin in range(0, len(content), 256):
        place = begin + chance.randrange(256)
        flipped = bytearray(content)
        flipped[place] ^= 1 << chance.randrange(8)
        home = tmp_path / str(place)
        home.mkdir()
        (home / VAULT_FILE).write_bytes(flipped)
        seen += await kept.assert_harmless(home) < ALL
        shutil.rmtree(home)
    assert seen > 5


async def test_what_is_not_there_is_none_to_find_and_an_error_to_read(vault: Vault) -> None:
    records = vault._database.records
    assert await records.find("secret", "none", 1) is None
    assert await records.find_json("env", "none") is None
    assert await records.latest("secret", "none") is None
    assert await records.versions("secret", "none") == await records.names("none") == []
    with pytest.raises(IntegrityError, match="the env 'none' is missing from the vault"):
        await records.read("env", "none")


async def test_records_are_named_by_kind_and_counted_by_version(vault: Vault) -> None:
    records = vault._database.records
    assert (await records.names("env"), await records.names("head")) == (["env-a", "env-b"], ["a", "b"])
    assert (await records.versions("secret", "a"), await records.latest("secret", "a")) == ([1, 2], 2)
    assert [await vault._change(lambda records: records.delete("secret", "a")) for _ in range(2)] == [
        True,
        False,
    ]
    assert await records.versions("secret", "a") == []


async def test_a_record_of_a_key_that_is_not_on_the_ring_is_seen(kept: Kept, vault: Vault) -> None:
    kept.sql("UPDATE records SET key = 'another' WHERE name = 'env-a'")
    with pytest.raises(IntegrityError, match="sealed with a key that is not on the ring"):
        await vault._database.records.find("env", "env-a")


async def test_a_vault_without_a_key_for_a_kind_is_not_written(kept: Kept, vault: Vault) -> None:
    kept.sql("DELETE FROM records WHERE kind = 'key' AND name LIKE 'secrets.%'")
    with pytest.raises(IntegrityError, match="no key for a secret"):
        await vault.put_secret("a", "x")
    assert await vault.secret("a") == f"{CANARY} a 2"


async def test_a_record_is_resealed_unless_it_is_gone(kept: Kept, vault: Vault) -> None:
    old = kept.rows("SELECT sealed FROM records WHERE name = 'env-a'")
    assert await vault._change(lambda records: records.reseal(("env", "env-a", 0)))
    assert not await vault._change(lambda records: records.reseal(("env", "none", 0)))
    assert kept.rows("SELECT sealed FROM records WHERE name = 'env-a'") != old


@pytest.mark.parametrize(("kind", "value"), [(int, "1"), (float, 1), (bytes, "x"), (float, None)])
def test_a_column_of_another_type_is_damage(kind: type, value: object) -> None:
    with pytest.raises(IntegrityError, match="the vault is damaged"):
        expect(kind, value)
