from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing, suppress
from pathlib import Path

import pytest

from oo._http.response import MAX_ANSWER
from oo.gateway import freshness
from oo.gateway.errors import StoreError, StoreUnavailable
from oo.gateway.kms import MasterRing
from oo.gateway.models import Denial
from oo.gateway.sealing import Keyring, new_key
from oo.gateway.store import database
from oo.gateway.vault import Vault
from tests.support.processes import Home
from tests.support.vaults import CANARY, Kept
from tests.support.waiting import PATIENCE


async def test_a_write_that_fails_is_told_and_the_next_one_goes_on(vault: Vault) -> None:
    vault._database.writer.execute("PRAGMA max_page_count = 1")  # as full as a disk can be
    with pytest.raises(StoreError, match=r"vault\.db failed: database or disk is full"):
        await vault.put_secret("a", "x" * (MAX_ANSWER // 2))
    assert await vault.secret("a") == f"{CANARY} a 2"
    vault._database.writer.execute("PRAGMA max_page_count = 1000000")
    assert await vault.put_secret("a", "fits") == 3
    assert await vault.secret("a") == "fits"


WRITES = """
import asyncio, sys
from pathlib import Path
from oo.gateway.vault import Vault

async def main():
    async with Vault(Path(sys.argv[1])) as vault:
        for n in range(int(sys.argv[4])):
            version = await vault.put_secret(sys.argv[2] if n % 2 else f"{sys.argv[3]}-{n}", f"{sys.argv[3]} {n}")
            print(n, version, flush=True)

asyncio.run(main())
"""


def writing(home: Home, shared: str, own: str, count: int) -> subprocess.Popen[str]:
    """A process that writes secrets, and prints each that was acknowledged."""
    command = [sys.executable, "-c", WRITES, str(home.path), shared, own, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=home.environ)


def assert_kept(home: Home, shared: str, own: str, acknowledged: list[str]) -> None:
    async def check(vault: Vault) -> None:
        for line in acknowledged:
            n, version = map(int, line.split())
            if n % 2:
                assert (
                    json.loads(await vault._database.records.read("secret", shared, version))["value"] == f"{own} {n}"
                )
            else:
                assert await vault.secret(f"{own}-{n}") == f"{own} {n}"

    home.run(check)


@pytest.mark.parametrize("after", [1, 67, 133])
def test_no_acknowledged_write_is_lost_when_a_writer_is_killed(tmp_path: Path, after: int) -> None:
    home = Home(tmp_path / "home").made()
    process = writing(home, "shared", "w", 200)
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(after)]
    process.kill()
    # What it had said before it died counts too.
    lines += [line for line in process.stdout if line.endswith("\n")]
    process.stdout.close()
    assert process.wait() == -9
    assert after <= len(lines) < 200
    assert (home.path / "vault.db-wal").exists()
    assert_kept(home, "shared", "w", lines)
    assert home.secret("shared", "goes on") >= len(lines) // 2 + 1


def test_two_processes_write_at_once_and_neither_loses(tmp_path: Path) -> None:
    home = Home(tmp_path / "home").made()
    writers = {own: writing(home, "shared", own, 60) for own in ("one", "other")}
    versions: list[str] = []
    for own, process in writers.items():
        said, _ = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0
        assert len(said.splitlines()) == 60
        assert_kept(home, "shared", own, said.splitlines())
        versions += [line.split()[1] for line in said.splitlines()[1::2]]
    assert sorted(map(int, versions)) == list(range(1, 61))


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """The file's name is looked up at each read, and tried again however soon."""
    monkeypatch.setattr(freshness, "_FRESH", -1.0)
    monkeypatch.setattr(database, "_AGAIN", 0.0)


def back_up(path: Path) -> Path:
    """A copy as `sqlite3 vault.db ".backup copy.db"` makes it."""
    copy = path.with_name("copy.db")
    source, target = sqlite3.connect(path), sqlite3.connect(copy)
    source.backup(target)
    target.close()
    source.close()
    return copy


def put_in_place(copy: Path, path: Path) -> None:
    copy.replace(path)
    for side in ("-wal", "-shm"):
        path.with_name(path.name + side).unlink(missing_ok=True)


@pytest.mark.usefixtures("always")
async def test_a_file_that_takes_the_place_of_the_vaults_is_read_and_written(
    vault: Vault, kept: Kept, caplog: pytest.LogCaptureFixture
) -> None:
    token = await vault.issue("secret", "a", label="mine")
    copy = back_up(vault.path)
    await vault.put_secret("a", "newer than the backup")
    assert await vault.secret("a") == "newer than the backup"
    put_in_place(copy, vault.path)
    async with kept.open() as other:  # as `oo token revoke` does
        await other.revoke(vault.id_of(token))
        assert await vault.secret("a") == f"{CANARY} a 2"
        assert (await vault.opens(token, "secret")) == Denial("revoked", vault.id_of(token), label="mine")
        await vault.put_secret("a", "written after it")
        assert await other.secret("a") == "written after it"
        await other.put_secret("a", "by the other")
    assert await vault.secret("a") == "by the other"
    assert [said for said in caplog.messages if "was replaced: the new file is served" in said] == caplog.messages
    assert len(caplog.messages) == 1


class Asked(MasterRing):
    """Master keys that answer as a KMS does: once it is `free`."""

    def __init__(self, ring: Keyring) -> None:
        super().__init__([ring])
        self.free = threading.Event()
        self.free.set()

    def open(self, key: str, kind: str, name: str, version: int, sealed: bytes) -> bytes:
        assert self.free.wait(PATIENCE), "it was waited for"
        return super().open(key, kind, name, version, sealed)


@pytest.mark.usefixtures("always")
async def test_the_loop_waits_for_no_kms_when_the_file_is_replaced(kept: Kept, tmp_path: Path) -> None:
    Vault.create(tmp_path / "other", kept.ring)
    asked = Asked(kept.ring)
    async with Vault(kept.home, lambda: asked) as vault:
        asked.free.clear()
        put_in_place(tmp_path / "other" / "vault.db", kept.path)
        for _ in range(3):
            with pytest.raises(StoreUnavailable, match=r"its keys are being unwrapped|was replaced or removed"):
                await vault.secret("a")
        asked.free.set()
        await until_it_opens(vault)
        assert await vault.put_secret("a", "of the other") == 1
        assert await vault.secret("a") == "of the other"


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("whole", [True, False])
async def test_a_file_that_is_still_being_opened_at_the_end_is_closed(kept: Kept, tmp_path: Path, whole: bool) -> None:
    Vault.create(tmp_path / "other", kept.ring)
    if not whole:
        with closing(sqlite3.connect(tmp_path / "other" / "vault.db")) as db, db:
            db.execute("UPDATE records SET sealed = x'00' WHERE kind = 'root'")
    asked = Asked(kept.ring)
    async with Vault(kept.home, lambda: asked) as vault:
        asked.free.clear()
        put_in_place(tmp_path / "other" / "vault.db", kept.path)
        with pytest.raises(StoreUnavailable):
            await vault.secret("a")
        opening = vault._database._opening
    asked.free.set()
    assert opening is not None
    if not whole:
        with pytest.raises(StoreError, match="does not open the vault"):
            await asyncio.wait_for(asyncio.wrap_future(opening), PATIENCE)
        return
    opened = await asyncio.wait_for(asyncio.wrap_future(opening), PATIENCE)
    await asyncio.to_thread(opened.changes.close)  # which waits for what was begun
    for db in (opened.records.db, opened.writer):
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            db.execute("SELECT 1")


async def until_it_opens(vault: Vault) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        with suppress(StoreUnavailable):
            await vault.secret("a")
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it opens nothing")


@pytest.mark.usefixtures("always")
async def test_a_vault_of_another_root_opens_none_of_the_old_tokens(vault: Vault, kept: Kept, tmp_path: Path) -> None:
    token = await vault.issue("secret", "a")
    Vault.create(tmp_path / "other", kept.ring)
    put_in_place(tmp_path / "other" / "vault.db", vault.path)
    assert [(await vault.opens(token, "secret")) for _ in range(2)] == [Denial("unknown")] * 2
    await vault.put_secret("new", "value")
    mine = await vault.issue("secret", "new")
    assert not isinstance(await vault.opens(mine, "secret"), Denial)


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("how", ["removed", "another key", "no vault"])
async def test_nothing_old_is_given_while_the_vault_cannot_be_opened(
    vault: Vault, tmp_path: Path, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    token = await vault.issue("secret", "a")
    assert await vault.secret("a") == f"{CANARY} a 2"
    copy = back_up(vault.path)
    if how == "removed":
        vault.path.unlink()
    elif how == "another key":
        Vault.create(tmp_path / "other", Keyring([new_key()]))
        put_in_place(tmp_path / "other" / "vault.db", vault.path)
    else:
        (tmp_path / "junk").write_bytes(b"junk" * 1000)
        put_in_place(tmp_path / "junk", vault.path)
    for _ in range(2):
        for asking in (vault.secret("a"), vault.route("api"), vault.opens(token, "secret"), vault.environment("env-a")):
            with pytest.raises(StoreUnavailable):
                await asking
    assert len(caplog.messages) == 1
    assert "no call is answered" in caplog.text
    put_in_place(copy, vault.path)
    assert await vault.secret("a") == f"{CANARY} a 2"


async def test_a_file_that_cannot_be_opened_is_not_tried_for_each_call(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(freshness, "_FRESH", -1.0)
    monkeypatch.setattr(database, "_AGAIN", 3600.0)
    copy = back_up(vault.path)
    vault.path.unlink()
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            await vault.secret("a")
        put_in_place(copy, vault.path) if copy.exists() else None


@pytest.mark.usefixtures("always")
async def test_a_change_that_was_begun_ends_before_its_file_is_left(vault: Vault) -> None:
    copy = back_up(vault.path)
    writing = [asyncio.ensure_future(vault.put_secret(f"n{n}", "value")) for n in range(20)]
    await asyncio.sleep(0)
    os.replace(copy, vault.path)
    await vault.secret("a")
    assert await asyncio.gather(*writing) == [1] * 20


@pytest.mark.usefixtures("always")
async def test_nothing_old_is_given_where_a_backup_is_copied_over_the_file_itself(
    vault: Vault, caplog: pytest.LogCaptureFixture
) -> None:
    copy = back_up(vault.path)
    await vault.put_secret("a", "newer than the backup")
    assert await vault.secret("a") == "newer than the backup"
    vault.path.write_bytes(copy.read_bytes())
    for side in ("-wal", "-shm"):
        vault.path.with_name(vault.path.name + side).unlink()
    found = None
    with suppress(StoreUnavailable):  # SQLite opens no second log of the same file in a process
        found = await vault.secret("a")
    assert found in (None, f"{CANARY} a 2")
    assert caplog.messages


async def test_what_sqlite_fails_with_is_a_store_error(vault: Vault) -> None:
    database = vault._database
    with pytest.raises(StoreError, match="no such table"):
        database.read(lambda records: records.db.execute("SELECT * FROM nowhere"))
    database.writer.close()
    with pytest.raises(StoreError, match=r"vault\.db failed"):
        database.version()


async def test_a_vault_that_was_closed_is_not_opened_again(kept: Kept) -> None:
    vault = Vault(kept.path.parent, lambda: kept.ring)
    await vault.put_secret("a", "a value")
    await vault.close()
    for _ in range(2):
        with pytest.raises(StoreError, match=r"vault\.db was closed"):
            await vault.put_secret("a", "another")


def test_threads_that_use_a_vault_which_another_closes_are_told_so(kept: Kept) -> None:
    for _ in range(20):
        vault, begun = Vault(kept.path.parent, lambda: kept.ring), threading.Barrier(4)
        told = list[str]()

        async def use(vault: Vault = vault, begun: threading.Barrier = begun, told: list[str] = told) -> None:
            begun.wait(PATIENCE)
            try:
                while True:
                    await asyncio.wait_for(vault.put_secret("w", "a value"), PATIENCE)
            except StoreError as error:
                told.append(str(error))

        threads = [threading.Thread(target=asyncio.run, args=(use(),)) for _ in range(3)]
        for thread in threads:
            thread.start()
        begun.wait(PATIENCE)
        time.sleep(0.01)  # in which some of their changes are under way
        asyncio.run(vault.close())
        for thread in threads:
            thread.join(PATIENCE)
        assert len(told) == 3
