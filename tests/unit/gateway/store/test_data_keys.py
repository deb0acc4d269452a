from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest

from oo.gateway import kept as kept_answers
from oo.gateway.errors import IntegrityError, StoreError, StoreUnavailable
from oo.gateway.paths import VAULT_FILE
from oo.gateway.sealing import Keyring, key_id, new_key
from oo.gateway.store import data_keys, sqlite
from oo.gateway.store.data_keys import PURPOSES, RESULTS, DataKey, DataKeys
from oo.gateway.store.rows import Rows
from oo.gateway.vault import Vault
from tests.support import earlier
from tests.support.vaults import CANARY, Kept

MASTERS = Keyring([b"m" * 32])
NEW = Keyring([b"m" * 32, b"n" * 32])


class Counted(Keyring):
    """A ring that counts what it opens, and may be away."""

    opened = 0
    away = False

    def open(self, key: str, kind: str, name: str, version: int, sealed: bytes) -> bytes:
        self.opened += 1
        if self.away:
            raise StoreUnavailable("away")
        return super().open(key, kind, name, version, sealed)


def test_a_store_begins_with_a_key_for_each_purpose() -> None:
    rows = data_keys.first(MASTERS)
    assert sorted(row.purpose for row in rows) == sorted({*PURPOSES.values(), RESULTS})
    assert {row.sealed[0] for row in rows} == {MASTERS.current}
    assert len({data_keys.unwrap(row, MASTERS).key for row in rows}) == 5


@pytest.mark.parametrize(
    "changed",
    [
        {"purpose": "tokens"},
        {"id": "0" * 16},
        {"number": 2},
        {"sealed": (MASTERS.current, b"x" * 80)},
        {"sealed": (MASTERS.current, "text")},
    ],
)
def test_a_row_is_bound_to_its_purpose_id_and_number(changed: dict[str, object]) -> None:
    row = data_keys.new("secrets", 1, MASTERS)
    with pytest.raises(IntegrityError):
        data_keys.unwrap(row._replace(**changed), MASTERS)  # type: ignore[arg-type]  # a damaged column
    keys = DataKeys(lambda: MASTERS)
    keys.learn([row._replace(**changed)])  # type: ignore[arg-type]
    assert row.id not in keys.ring


def test_a_key_of_another_id_does_not_pass_where_the_kms_binds_nothing() -> None:
    class Unbound(Keyring):
        def open(self, key: str, kind: str, name: str, version: int, sealed: bytes) -> bytes:
            return b"k" * 40

    with pytest.raises(IntegrityError, match="another one"):
        data_keys.unwrap(data_keys.new("secrets", 1, MASTERS), Unbound([b"m" * 32]))


def test_each_key_is_unwrapped_once_and_those_that_are_known_need_no_master_key() -> None:
    masters = Counted([b"m" * 32])
    keys = DataKeys(lambda: masters)
    rows = data_keys.first(masters)
    keys.learn(rows)
    keys.learn(rows)
    assert masters.opened == 5
    masters.away = True
    keys.learn(data_keys.rewrapped(rows, NEW))
    assert set(keys.ring.ids) == {row.id for row in rows}
    ring = keys.ring
    with pytest.raises(StoreUnavailable):
        keys.learn([*rows, data_keys.new("secrets", 2, MASTERS)])
    assert keys.ring is ring


def test_the_master_keys_are_loaded_again_for_one_that_is_not_there() -> None:
    rings = [MASTERS, NEW]
    keys = DataKeys(lambda: rings.pop(0))
    row = data_keys.new("secrets", 1, NEW)
    keys.learn([row])
    assert row.id in keys.ring
    assert rings == []


def test_a_row_of_another_master_key_is_passed_over() -> None:
    keys = DataKeys(lambda: MASTERS)
    mine, another = data_keys.new("secrets", 1, MASTERS), data_keys.new("routes", 1, Keyring([new_key()]))
    keys.learn([mine, another])
    assert keys.ring.ids == (mine.id,)


def test_without_data_keys_the_master_keys_open_what_they_have_sealed() -> None:
    keys = DataKeys(lambda: NEW)
    keys.learn([])
    assert keys.ring.ids == NEW.ids


def test_the_keys_of_results_stand_in_their_order_and_age_by_their_successors(monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[DataKey] = []
    for made, number in ((1000, 3), (500, 1), (700, 2)):
        monkeypatch.setattr(time, "time", lambda made=made: made)
        rows.append(data_keys.new(RESULTS, number, MASTERS))
    keys = DataKeys(lambda: MASTERS)
    keys.learn(rows)
    third, first, second = (data_keys.unwrap(row, MASTERS).key for row in rows)
    assert keys.results == (first, second, third)
    day = kept_answers.KEPT + 24 * 3600
    assert keys.aged(600 + day) == set()
    assert keys.aged(800 + day) == {key_id(first)}
    assert keys.aged(5000 + day) == {key_id(first), key_id(second)}


def test_only_what_another_master_key_has_wrapped_is_wrapped_anew() -> None:
    rows = data_keys.first(MASTERS)
    wrapped = data_keys.rewrapped(rows, NEW)
    assert [row.place for row in wrapped] == [row.place for row in rows]
    assert {row.sealed[0] for row in wrapped} == {NEW.current}
    assert [data_keys.unwrap(row, NEW)[1:] for row in wrapped] == [data_keys.unwrap(row, MASTERS)[1:] for row in rows]
    assert data_keys.rewrapped(wrapped, NEW) == []
    with pytest.raises(StoreError, match="none of these keys opens; nothing was changed"):
        data_keys.rewrapped(wrapped, MASTERS)


def rows_of(path: Path) -> Sequence[tuple[str, ...]]:
    with closing(sqlite3.connect(path)) as db:
        return db.execute("SELECT name, key, sealed FROM records WHERE kind = 'key' ORDER BY name").fetchall()


async def test_a_ring_that_opens_nothing_stays_the_same() -> None:
    keys = DataKeys(lambda: MASTERS)
    for rows in ([], [data_keys.new("routes", 1, Keyring([new_key()]))], [data_keys.new("routes", 1, MASTERS)]):
        before = keys.ring
        keys.learn(rows)
        after = keys.ring
        keys.learn(rows)
        assert before is not after
        assert after is keys.ring


async def test_rows_are_written_only_over_those_that_were_seen(vault: Vault) -> None:
    seen = await vault.keys()
    wanted = data_keys.successors(seen, vault._keys.masters)
    assert [await vault._change(lambda r: data_keys.replace(r.rows, seen, wanted)) for _ in range(2)] == [True, False]
    assert await vault.keys() == sorted([*seen, *wanted], key=lambda row: row.place)


async def test_what_is_no_row_of_a_data_key_is_passed_over(kept: Kept, vault: Vault) -> None:
    kept.sql(
        "INSERT INTO records VALUES ('key', 'nothing', 1, 'k', x'')",
        "INSERT INTO records VALUES ('key', x'00', 1, 'k', x'')",
        "INSERT INTO records VALUES ('key', 'secrets.1', x'00', 'k', x'')",
        "INSERT INTO records VALUES ('key', 'secrets.1', 2, x'00', x'')",
    )
    assert len([row for row in await vault.keys() if row.sealed[0] != "k"]) == 5
    async with kept.open() as other:
        assert await other.secret("a") == f"{CANARY} a 2"


async def test_what_a_new_key_has_sealed_opens_for_who_knew_the_old_ones_alone(kept: Kept, vault: Vault) -> None:
    async with kept.open() as other:
        token = await other.issue("secret", "a", uses=9)
        assert await other.rekey(kept.ring, deep=True) > 10
        await other.put_secret("a", "newer")
        grant = await vault.consume(token, "secret")
        assert getattr(grant, "name", None) == "a"
        assert await vault.secret("a") == "newer"
        assert await vault.secret("b") == f"{CANARY} b 2"
    assert {row.number for row in await vault.keys() if row.purpose != RESULTS} == {2}


async def test_the_keys_of_a_deep_rekey_that_was_stopped_are_wrapped_by_another_rekey_as_well(
    kept: Kept, vault: Vault
) -> None:
    class Stopped(Exception):
        pass

    async def stop(places: object) -> int:
        raise Stopped

    reseal, vault._reseal = vault._reseal, stop  # type: ignore[method-assign]
    with pytest.raises(Stopped):
        await vault.rekey(kept.ring, deep=True)
    begun = await vault.keys()
    assert len(begun) == 10
    assert "is under way, or was stopped" in (await vault.warnings())[0]
    vault._reseal = reseal  # type: ignore[method-assign]
    assert await vault.rekey(Keyring([*kept.ring.own, new_key()])) == 10
    kept.ring = Keyring([*vault._keys.masters.own])
    assert await vault.secret("a") == f"{CANARY} a 2"


@pytest.mark.parametrize("planted", [False, True])
async def test_a_deep_rekey_draws_keys_of_its_own_whatever_the_vault_says(
    kept: Kept, vault: Vault, planted: bool
) -> None:
    seen = await vault.keys()
    stopped = data_keys.successors(seen, kept.ring)
    if planted:
        kept.sql("INSERT INTO meta VALUES ('resealing', '1')")
    else:  # as a run that was killed leaves it; whoever copied the vault since has these keys
        await vault._change(lambda records: data_keys.replace(records.rows, seen, stopped))
    assert await vault.rekey(kept.ring, deep=True) > 10
    left = [row for row in await vault.keys() if row.purpose != RESULTS]
    assert {row.number for row in left} == ({2} if planted else {3})
    assert not {row.id for row in left} & {row.id for row in [*seen, *stopped]}


class Edited(NamedTuple):
    """What whoever may write the store does to the rows of data keys; `{secrets}` is the name of the secrets' one.
    `reads`: secrets open all the same. `late`: who has unwrapped the key before goes on with it."""

    statement: str
    reads: bool = False
    late: bool = False


_COPY = "INSERT INTO records SELECT kind, {0}, {1}, key, sealed FROM records WHERE name = '{{{2}}}'"
EDITED = {
    "removed": Edited("DELETE FROM records WHERE name = '{secrets}'"),
    "of another name": Edited("UPDATE records SET name = x'ff' WHERE name = '{secrets}'"),
    "no bytes": Edited("UPDATE records SET sealed = 'text' WHERE name = '{secrets}'"),
    "of another master key": Edited("UPDATE records SET key = '00' WHERE name = '{secrets}'", late=True),
    "swapped": Edited(
        "UPDATE records SET sealed = (SELECT sealed FROM records WHERE name = '{routes}') WHERE name = '{secrets}'",
        late=True,
    ),
    "copied as a newer one": Edited(_COPY.format("name", 9, "secrets"), reads=True),
    "copied as the last one there can be": Edited(_COPY.format("name", 2**63 - 1, "secrets"), reads=True),
    "another purpose's": Edited(_COPY.format("'secrets.' || substr(name, 8)", 9, "tokens"), reads=True),
}


@pytest.mark.parametrize("edited", EDITED.values(), ids=EDITED)
@pytest.mark.parametrize("running", [False, True])
async def test_an_edited_row_seals_nothing_and_is_never_wrapped_anew(kept: Kept, edited: Edited, running: bool) -> None:
    async with kept.open() as vault:
        await vault.secret("a")
        names = {row.purpose: row.place[1] for row in await vault.keys()}
        kept.sql(edited.statement.format(**names))
        if running and not edited.late:
            await assert_refuses_to_seal(vault)
    async with kept.open() as vault:
        await assert_refuses_to_seal(vault)
        assert re.search("the data key 'secrets.* does not open|no data key for secrets", str(await vault.warnings()))
        if edited.reads:
            assert await vault.secret("a") == f"{CANARY} a 2"
        else:
            with pytest.raises(IntegrityError):
                await vault.secret("a")
        before = rows_of(kept.path)
        for masters in (kept.ring, Keyring([*kept.ring.own, new_key()])):
            for deep in (False, True):
                with pytest.raises(StoreError, match=r"nothing was changed|it was changed"):
                    await vault.rekey(masters, deep=deep)
        assert rows_of(kept.path) == before


async def assert_refuses_to_seal(vault: Vault) -> None:
    with pytest.raises(IntegrityError):
        await vault.put_secret("new", "value")


async def test_a_purpose_without_a_key_is_warned_of(kept: Kept, vault: Vault) -> None:
    assert await vault.warnings() == []
    kept.sql("DELETE FROM records WHERE name LIKE 'results.%' OR name LIKE 'routes.%'")
    assert await vault.warnings() == [
        "there is no data key for results, routes: it was removed or changed. Restore a backup"
    ]


async def test_a_rekey_that_another_was_faster_than_looks_again(
    kept: Kept, vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = data_keys.replace
    outcomes: list[bool] = []
    another = data_keys.new("routes", 9, kept.ring)

    async def slow(rows: Rows, seen: Sequence[DataKey], wanted: Sequence[DataKey]) -> bool:
        if not outcomes:  # as if another had been at work
            await rows.put(another.place, another.sealed)
        outcomes.append(await replace(rows, seen, wanted))
        return outcomes[-1]

    monkeypatch.setattr(data_keys, "replace", slow)
    assert await vault.rekey(Keyring([*kept.ring.own, new_key()])) == 6
    assert outcomes == [False, True]


async def test_a_deep_rekey_drops_the_keys_of_results_that_nothing_is_sealed_with(
    kept: Kept, vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        await vault.rekey(kept.ring, deep=True)
    assert len(vault._keys.results) == 3
    later = time.time() + 3 * kept_answers.KEPT
    monkeypatch.setattr(time, "time", lambda: later)
    await vault.rekey(kept.ring, deep=True)
    assert len([row for row in await vault.keys() if row.purpose == RESULTS]) == 2


async def test_of_a_vault_that_another_master_key_has_sealed_in_part_nothing_is_sealed_anew(
    kept: Kept, vault: Vault
) -> None:
    kept.sql("UPDATE records SET key = 'another' WHERE name = 'env-a'")
    before = rows_of(kept.path)
    with pytest.raises(StoreError, match="holds what none of these keys opens; nothing was changed"):
        await vault.rekey(kept.ring, deep=True)
    assert rows_of(kept.path) == before


async def test_an_earlier_vault_is_given_data_keys_and_read_as_before(tmp_path: Path) -> None:
    earlier.make(tmp_path)
    for _ in range(2):
        async with Vault(tmp_path, lambda: earlier.RING) as vault:
            await earlier.assert_whole(vault)
            assert len(await vault.keys()) == 6
    # Its results stay those of its root, and what it had sealed opens with a key of its own.
    async with Vault(tmp_path, lambda: earlier.RING) as vault:
        assert vault._keys.results == (vault._root,)
        assert key_id(earlier.KEY) in {row.id for row in await vault.keys()}


async def test_an_earlier_vault_is_rekeyed_and_sealed_anew(tmp_path: Path) -> None:
    earlier.make(tmp_path)
    new = Keyring([earlier.KEY, new_key()])
    only = Keyring(new.own[1:])
    async with Vault(tmp_path, lambda: earlier.RING) as vault:
        assert await vault.rekey(new) == 6
    async with Vault(tmp_path, lambda: only) as vault:
        await earlier.assert_whole(vault)
        assert await vault.rekey(only, deep=True) > 5
        await earlier.assert_whole(vault)
        assert key_id(earlier.KEY) not in {row.id for row in await vault.keys()}
    with closing(sqlite3.connect(tmp_path / VAULT_FILE)) as db:
        assert db.execute("SELECT count(*) FROM records WHERE key = ?", (key_id(earlier.KEY),)).fetchone() == (0,)
    async with Vault(tmp_path, lambda: only) as vault:
        await earlier.assert_whole(vault)


def test_an_upgrade_that_ended_half_way_leaves_the_vault_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    earlier.make(tmp_path)
    writer = sqlite.writer

    def killed(path: Path) -> sqlite3.Connection:
        db = writer(path)
        db.set_trace_callback(lambda said: said.startswith("REPLACE INTO records") and db.interrupt())
        return db

    monkeypatch.setattr(sqlite, "writer", killed)
    with pytest.raises(StoreError, match="interrupted"):
        Vault(tmp_path, lambda: earlier.RING)
    assert rows_of(tmp_path / VAULT_FILE) == []
    monkeypatch.undo()
    Vault(tmp_path, lambda: earlier.RING)._database.close()
    assert len(rows_of(tmp_path / VAULT_FILE)) == 6


async def test_an_earlier_vault_of_two_master_keys_is_given_keys_by_who_has_both(tmp_path: Path) -> None:
    earlier.make(tmp_path)
    both = Keyring([earlier.KEY, new_key()])
    place = ("env", "e", 0)
    with closing(sqlite3.connect(tmp_path / VAULT_FILE)) as db, db:  # as if a rekey of that version was stopped
        (sealed,) = db.execute("SELECT sealed FROM records WHERE kind = 'env'").fetchone()
        anew = both.seal(both.current, *place, both.open(key_id(earlier.KEY), *place, sealed))
        db.execute("UPDATE records SET key = ?, sealed = ? WHERE kind = 'env'", (both.current, anew))
    with pytest.raises(StoreError, match="none of these keys opens; nothing was changed"):
        Vault(tmp_path, lambda: earlier.RING)
    assert rows_of(tmp_path / VAULT_FILE) == []
    async with Vault(tmp_path, lambda: both) as vault:
        await earlier.assert_whole(vault)
        assert len(await vault.keys()) == 7
        third = Keyring([*both.own, new_key()])
        await vault.rekey(third)
    async with Vault(tmp_path, lambda: Keyring(third.own[-1:])) as vault:
        await earlier.assert_whole(vault)


async def test_an_earlier_vault_of_another_master_key_is_not_changed(tmp_path: Path) -> None:
    earlier.make(tmp_path)
    before = (tmp_path / VAULT_FILE).read_bytes()
    with pytest.raises(StoreError, match="does not open the vault"):
        Vault(tmp_path, lambda: MASTERS)
    assert (tmp_path / VAULT_FILE).read_bytes() == before
