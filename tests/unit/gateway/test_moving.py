from __future__ import annotations

import asyncio
import base64
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from oo.gateway import moving
from oo.gateway.errors import StoreError, StoreUnavailable
from oo.gateway.models import Denial, Grant, Rate, Route, SecretRef, StoredResponse
from oo.gateway.moving import backup, migrate, restore
from oo.gateway.open_store import open_store
from oo.gateway.sealing import Keyring, new_key
from oo.gateway.store.base import Keeper
from oo.gateway.store.postgres import moving as postgres_moving
from oo.gateway.store.sqlite_moving import SQLiteTarget
from oo.gateway.vault import Vault
from tests.support.postgres import say

KEY = new_key()
SMALL, LARGE = StoredResponse(200, (("X", "1"),), b"small"), StoredResponse(201, (), bytes(600_000))


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OO_MASTER_KEY", base64.b64encode(KEY).decode())


@pytest.fixture
def vault(tmp_path: Path) -> str:
    place = tmp_path / "old"
    Vault.create(place, Keyring([KEY]))
    return str(place)


class Filled:
    """What was put into a store, and what must be there wherever it has moved to."""

    def __init__(self) -> None:
        self.counted = self.rated = self.caller = ""

    async def fill(self, place: str) -> Filled:
        async with open_store(place) as store:
            for n in range(3):
                await store.put_secret("a", f"value {n}")
            await store.rollback("a")
            await store.put_environment("e", {"S": SecretRef("a"), "L": "literal"})
            await store.put_route(Route("r", "http://127.0.0.1:9", {"X-Key": "{a}"}))
            self.counted = await store.issue("secret", "a", uses=3, label="counted")
            self.rated = await store.issue("env", "e", rate=Rate(2, 3600.0))
            self.caller = await store.issue("route", "r")
            assert isinstance(await store.consume(self.counted, "secret"), Grant)
            assert isinstance(await store.authorize(self.rated, "env"), Grant)
            for key, response in (("small", SMALL), ("large", LARGE), ("none", None), ("under way", None)):
                fence = await store.claim(self.caller, key, 60)
                assert isinstance(fence, bytes)
                if key != "under way":
                    await store.complete(store.id_of(self.caller), key, fence, b"digest", response)
        return self

    async def check(self, place: str, *, answers: bool = True) -> None:
        async with open_store(place) as store:
            assert await store.secret("a") == "value 1"
            assert [each.current for each in await store.versions("a")] == [False, True, False]
            assert await store.environment("e") == {"S": "value 1", "L": "literal"}
            assert await store.route("r") == Route("r", "http://127.0.0.1:9", {"X-Key": "{a}"})
            assert [each.used for each in await store.tokens()] == [1, 1, 0]
            found = [await store.consume(self.counted, "secret") for _ in range(3)]
            assert [isinstance(each, Grant) for each in found] == [True, True, False]
            found = [await store.authorize(self.rated, "env") for _ in range(2)]
            assert [isinstance(each, Grant) for each in found] == [True, False]
            await self.check_calls(store, answers)

    async def check_calls(self, store: Keeper, answers: bool) -> None:
        identity = store.id_of(self.caller)
        assert await store.result(identity, "none", b"digest") == "gone"
        # Nobody is asked twice for what was under way.
        assert await store.result(identity, "under way", b"digest") == "gone"
        assert await store.claim(self.caller, "under way", 60) == "taken"
        for key, response in (("small", SMALL), ("large", LARGE)):
            assert await store.result(identity, key, b"another") == "other"
            kept = await store.result(identity, key, b"digest")
            if not answers:
                assert kept == "gone"
                continue
            assert isinstance(kept, StoredResponse)
            body = kept.body if isinstance(kept.body, bytes) else b"".join([piece async for piece in kept.body])
            assert (kept.status, kept.headers, body) == (response.status, response.headers, response.body)


async def assert_moved(place: str, filled: Filled, target: str) -> None:
    """A store that has moved opens and counts nothing, and says where it is."""
    with pytest.raises(StoreUnavailable, match="has moved to") as caught:
        async with open_store(place) as store:
            await store.names("secret")
    assert target.rpartition("/")[2] in str(caught.value)


async def test_a_store_moves_there_and_back(vault: str, postgres: str, tmp_path: Path) -> None:
    filled = await Filled().fill(vault)
    assert await migrate(vault, postgres) > 10
    await assert_moved(vault, filled, postgres)
    back = str(tmp_path / "back")
    assert await migrate(postgres, back) > 10
    await assert_moved(postgres, filled, back)
    await filled.check(back)
    # A second run changes nothing.
    assert await migrate(postgres, back) == 0
    with pytest.raises(StoreError, match=r"has moved to .* already"):
        await migrate(vault, str(tmp_path / "elsewhere"))


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_who_has_it_open_counts_nothing_from_then_on(
    vault: str, postgres: str, tmp_path: Path, kind: str
) -> None:
    filled = await Filled().fill(vault)
    place, target = (vault, str(tmp_path / "new")) if kind == "sqlite" else (postgres, str(tmp_path / "new"))
    if kind == "postgres":
        await migrate(vault, postgres)
    async with open_store(place) as store:
        assert isinstance(await store.opens(filled.counted, "secret"), Grant)
        spent: list[Any] = []

        async def spend() -> None:
            while True:
                spent.append(await store.consume(filled.counted, "secret"))
                await asyncio.sleep(0.001)

        spending = asyncio.create_task(spend())
        await asyncio.sleep(0.01)
        await migrate(place, target)
        with pytest.raises(StoreError):
            await spending
        for asked in (
            store.opens(filled.counted, "secret"),
            store.consume(filled.counted, "secret"),
            store.claim(filled.caller, "new", 60),
            store.put_secret("a", "late"),
            store.secret("a"),
        ):
            with pytest.raises(StoreError, match="moved"):
                await asked
    async with open_store(target) as store:
        (used,) = [each.used for each in await store.tokens() if each.label == "counted"]
        assert used == 1 + sum(isinstance(each, Grant) for each in spent)
        assert (
            await store.consume(filled.counted, "secret")
            == Denial("used up", store.id_of(filled.counted), label="counted", target="a")
            or used < 3
        )


class Killed(BaseException):
    """The end of a process."""


@pytest.mark.parametrize("direction", ["there", "back"])
@pytest.mark.parametrize("moment", ["frozen", "filled"])
async def test_after_a_crash_a_second_run_leaves_one_store_open(
    vault: str, postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, direction: str, moment: str
) -> None:
    filled = await Filled().fill(vault)
    source, target = vault, postgres
    if direction == "back":
        await migrate(vault, postgres)
        source, target = postgres, str(tmp_path / "back")
    kind = SQLiteTarget if direction == "back" else postgres_moving.PostgresTarget
    fill = kind.fill

    async def killed(self: Any, rows: Any) -> int:
        if moment == "filled":
            await fill(self, rows)
        raise Killed

    async def nothing(_: object) -> None:
        raise Killed  # a process that has ended thaws nothing

    with monkeypatch.context() as patch:
        patch.setattr(kind, "fill", killed)
        for each in (moving.SQLiteSource, postgres_moving.PostgresSource):
            patch.setattr(each, "thaw", nothing)
        with pytest.raises(Killed):
            await migrate(source, target)
    await assert_moved(source, filled, target)
    assert (await migrate(source, target) == 0) is (moment == "filled")
    await assert_moved(source, filled, target)
    await filled.check(target)


async def test_what_does_not_open_is_not_moved_and_the_store_goes_on(
    vault: str, postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled = await Filled().fill(vault)
    with closing(sqlite3.connect(f"{vault}/vault.db")) as db, db:
        good = db.execute("SELECT sealed FROM records WHERE kind = 'env'").fetchone()[0]
        db.execute("UPDATE records SET sealed = x'00' WHERE kind = 'env'")
    with pytest.raises(StoreError, match="the env 'e' in the vault does not open"):
        await migrate(vault, postgres)
    with pytest.raises(StoreError, match="does not open"):
        await backup(vault, Path(vault) / "copy")
    with closing(sqlite3.connect(f"{vault}/vault.db")) as db, db:
        db.execute("UPDATE records SET sealed = ? WHERE kind = 'env'", (good,))
    with monkeypatch.context() as patch:
        patch.setenv("OO_MASTER_KEY", "ab" * 32)
        with pytest.raises(StoreError, match=r"the data key .* does not open"):
            await migrate(vault, postgres)
    async with open_store(vault) as store:
        assert isinstance(await store.opens(filled.counted, "secret"), Grant)
    await migrate(vault, postgres)
    await filled.check(postgres)


@pytest.mark.parametrize("unsure", [True, False])
async def test_where_the_target_is_lost_the_store_goes_on_unless_it_may_be_there(
    vault: str, postgres: str, monkeypatch: pytest.MonkeyPatch, unsure: bool
) -> None:
    await Filled().fill(vault)

    async def lost(*_: object) -> int:
        raise StoreUnavailable("gone", unsure=unsure)

    with monkeypatch.context() as patch:
        patch.setattr(postgres_moving.PostgresTarget, "fill", lost)
        with pytest.raises(StoreError, match="run this again" if unsure else "gone"):
            await migrate(vault, postgres)
    async with open_store(vault) as store:
        if unsure:
            with pytest.raises(StoreUnavailable):
                await store.secret("a")
        else:
            assert await store.secret("a") == "value 1"
    assert await migrate(vault, postgres) > 10


@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
async def test_a_backup_is_one_file_that_fills_an_empty_place(
    vault: str, postgres: str, tmp_path: Path, engine: str
) -> None:
    filled = await Filled().fill(vault)
    if engine == "postgres":
        await migrate(vault, postgres)
    place, file = (vault if engine == "sqlite" else postgres), tmp_path / "copy.db"
    async with open_store(place) as store:
        assert await backup(place, file) > 10
        assert isinstance(await store.opens(filled.counted, "secret"), Grant)
        await store.put_secret("a", "later")
    assert file.stat().st_mode & 0o777 == 0o600
    with pytest.raises(StoreError, match="already"):
        await backup(place, file)
    with pytest.raises(StoreError, match=r"there is a (vault|store) at"):
        await restore(place, file)
    if engine == "postgres":
        await say(postgres, "DROP SCHEMA oo CASCADE")
    for target in (str(tmp_path / "restored"), *([postgres] if engine == "postgres" else [])):
        assert await restore(target, file) > 10
        await filled.check(target, answers=False)
    if engine == "sqlite":
        await migrate(vault, postgres)
        with pytest.raises(StoreError, match="the store has moved"):
            await backup(vault, tmp_path / "other.db")


async def test_a_target_that_is_not_empty_and_a_source_that_is_none_are_refused(
    vault: str, postgres: str, tmp_path: Path
) -> None:
    await Filled().fill(vault)
    other = tmp_path / "other"
    Vault.create(other, Keyring([KEY]))
    with pytest.raises(StoreError, match="name an empty place"):
        await migrate(vault, str(other))
    with pytest.raises(StoreError, match="there is no vault at"):
        await migrate(str(tmp_path / "none"), postgres)
    with pytest.raises(StoreError, match="there is no store at"):
        await migrate(postgres, str(tmp_path / "none"))
