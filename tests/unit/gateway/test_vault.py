from __future__ import annotations

import asyncio
import base64
import json
import random
import shutil
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from oo._client.operations import MAX_ANSWER
from oo.gateway.errors import IntegrityError, StoreError
from oo.gateway.models import Denial, Grant, Route, SecretRef, StoredResponse
from oo.gateway.sealing import Keyring, new_key
from oo.gateway.store import sqlite as database
from oo.gateway.vault import VAULT_FILE, Vault
from tests.support.processes import Home, files
from tests.support.waiting import PATIENCE

CANARY = "canary-5f1e"


class Kept:
    """A vault with one of everything, twice; `tokens` opens each secret by its name."""

    def __init__(self, home: Path, ring: Keyring) -> None:
        self.home = home
        self.ring = ring
        self.path = home / VAULT_FILE
        self.tokens: dict[str, str] = {}

    def open(self, home: Path | None = None) -> Vault:
        return Vault(home or self.home, lambda: self.ring)

    async def fill(self) -> Kept:
        Vault.create(self.home, self.ring)
        async with self.open() as vault:
            for name in ("a", "b"):
                for version in (1, 2):
                    await vault.put_secret(name, f"{CANARY} {name} {version}")
                await vault.put_environment(f"env-{name}", {"S": SecretRef(name), "L": f"{CANARY} literal {name}"})
                inject = {"X-Text": f"{CANARY} text {{{name}}}"}
                await vault.put_route(Route(f"route-{name}", f"http://{CANARY}.example/{name}", inject))
                self.tokens[name] = await vault.issue("secret", name, label=f"{CANARY} label")
        return self

    def sql(self, *statements: str) -> None:
        with closing(sqlite3.connect(self.path)) as db, db:
            for statement in statements:
                db.execute(statement)

    def rows(self, query: str) -> list[Any]:
        with closing(sqlite3.connect(self.path)) as db:
            return db.execute(query).fetchall()

    async def assert_harmless(self, home: Path | None = None) -> int:
        """Whatever was done to the file, nothing wrong comes out of it; gives how much of it is still right."""
        right = 0
        try:
            vault = self.open(home)
        except StoreError:
            return 0
        async with vault:
            for name, token in self.tokens.items():
                reads: dict[str, tuple[Callable[[], Any], Any]] = {
                    "secret": (lambda name=name: vault.secret(name), f"{CANARY} {name} 2"),
                    "env": (
                        lambda name=name: vault.environment(f"env-{name}"),
                        {"S": f"{CANARY} {name} 2", "L": f"{CANARY} literal {name}"},
                    ),
                    "route": (
                        lambda name=name: vault.route(f"route-{name}"),
                        Route(
                            f"route-{name}", f"http://{CANARY}.example/{name}", {"X-Text": f"{CANARY} text {{{name}}}"}
                        ),
                    ),
                    "token": (lambda token=token: vault.redeem(token, "secret"), name),
                }
                for what, (read, expected) in reads.items():
                    try:
                        found = await read()
                    except StoreError:
                        continue
                    if isinstance(found, Grant):
                        found = found.name
                    if found is not None and not isinstance(found, Denial):
                        assert found == expected, what
                        right += 1
        return right


ALL = 8
"""What `assert_harmless` finds right in an undamaged vault."""


@pytest.fixture
async def kept(tmp_path: Path) -> Kept:
    return await Kept(tmp_path / "home", Keyring([new_key()])).fill()


@pytest.fixture
async def vault(kept: Kept) -> AsyncIterator[Vault]:
    async with kept.open() as vault:
        yield vault


async def test_no_file_holds_a_value_a_text_or_a_token(kept: Kept, vault: Vault) -> None:
    token = await vault.issue("secret", "a", label=f"{CANARY} label")
    # While it is open, the last writes are in the log beside the file.
    until = await claimed(vault, "id", f"{CANARY}-key", CANARY.encode())
    result = StoredResponse(200, (("X-H", f"{CANARY} header"),), f"{CANARY} body".encode())
    await vault.settle("id", f"{CANARY}-key", until, result)
    assert {path.name for path in kept.home.iterdir()} == {"vault.db", "vault.db-wal", "vault.db-shm"}
    assert (kept.home / "vault.db-wal").stat().st_size > 0
    found = files(kept.home)
    await vault.close()
    found += files(kept.home)
    for text in (CANARY, token, token[3:46]):
        for hidden in (text.encode(), text.encode().hex().encode(), base64.b64encode(text.encode())[:-4]):
            assert hidden not in found
    assert base64.urlsafe_b64decode(token[3:46] + "=") not in found


async def test_its_files_are_their_owners_alone(kept: Kept, vault: Vault) -> None:
    await vault.put_secret("a", "x")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in kept.home.iterdir()}
    assert modes == {"vault.db": 0o600, "vault.db-wal": 0o600, "vault.db-shm": 0o600}
    assert stat.S_IMODE(kept.home.stat().st_mode) == 0o700


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


async def test_two_tokens_that_change_places_open_nothing(kept: Kept) -> None:
    (one, first), (other, second) = kept.rows("SELECT id, hash FROM tokens")
    kept.sql(
        f"UPDATE tokens SET id = 'x' WHERE id = '{one}'",
        f"UPDATE tokens SET id = '{one}' WHERE id = '{other}'",
        f"UPDATE tokens SET id = '{other}' WHERE id = 'x'",
    )
    async with kept.open() as vault:
        for token in kept.tokens.values():
            with pytest.raises(IntegrityError, match="is not the one that was stored there"):
                await vault.redeem(token, "secret")
        with pytest.raises(IntegrityError):
            await vault.tokens()


async def test_an_old_head_does_not_bring_an_old_version_back(kept: Kept) -> None:
    old = kept.rows("SELECT sealed FROM records WHERE kind = 'head' AND name = 'a'")[0][0]
    async with kept.open() as vault:
        await vault.put_secret("a", "a third value")
    kept.sql(f"UPDATE records SET sealed = x'{old.hex()}' WHERE kind = 'head' AND name = 'a'")
    async with kept.open() as vault:
        for work in (vault.secret("a"), vault.versions("a"), vault.rollback("a"), vault.put_secret("a", "a fourth")):
            with pytest.raises(IntegrityError, match="the versions of the secret 'a'"):
                await work
        # It can be given up, and begun again.
        await vault.remove("env", "env-a")
        await vault.remove("route", "route-a")
        await vault.remove("secret", "a")
        assert await vault.put_secret("a", "new") == 1


async def test_a_lost_head_does_not_have_the_next_write_go_over_the_first_version(kept: Kept) -> None:
    kept.sql("DELETE FROM records WHERE kind = 'head' AND name = 'a'")
    async with kept.open() as vault:
        with pytest.raises(IntegrityError):
            await vault.put_secret("a", "new")


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


async def test_a_wrong_key_opens_nothing_and_changes_nothing(kept: Kept) -> None:
    before = kept.path.read_bytes()
    with pytest.raises(StoreError, match=r"the master key does not open the vault .*; nothing was changed"):
        Vault(kept.home, lambda: Keyring([new_key()]))
    assert kept.path.read_bytes() == before
    assert await kept.assert_harmless() == ALL


async def test_a_wrong_key_leaves_the_log_of_a_crash_as_it_is(kept: Kept, vault: Vault, tmp_path: Path) -> None:
    await vault.put_secret("a", "in the log alone")
    crashed = tmp_path / "crashed"
    crashed.mkdir()
    for name in (VAULT_FILE, f"{VAULT_FILE}-wal"):
        shutil.copy(kept.home / name, crashed / name)
    before = {path.name: path.read_bytes() for path in crashed.iterdir()}
    with pytest.raises(StoreError, match="does not open"):
        Vault(crashed, lambda: Keyring([new_key()]))
    assert {name: (crashed / name).read_bytes() for name in before} == before
    async with kept.open(crashed) as opened:
        assert await opened.secret("a") == "in the log alone"


def test_a_missing_vault_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"there is no vault at .*vault\.db: run `oo init`"):
        Vault(tmp_path, lambda: Keyring([new_key()]))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"garbage" * 1000, b"SQLite format 3\0" + b"\xff" * 4096, None])
def test_a_file_that_is_no_vault_is_a_message(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / VAULT_FILE
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    with pytest.raises(StoreError, match=rf"the vault {path} failed: "):
        Vault(tmp_path, lambda: Keyring([new_key()]))
    assert content is None or path.read_bytes() == content


async def test_a_vault_is_not_made_over_another(kept: Kept) -> None:
    with pytest.raises(StoreError, match="there is a vault at"):
        Vault.create(kept.home, Keyring([new_key()]))
    assert await kept.assert_harmless() == ALL
    assert [path.name for path in kept.home.iterdir()] == [VAULT_FILE]


def test_a_vault_is_made_whole_or_not_at_all(tmp_path: Path) -> None:
    def fails(db: sqlite3.Connection) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        database.create(tmp_path / VAULT_FILE, fails)
    assert list(tmp_path.iterdir()) == []


async def test_a_secret_keeps_its_versions(vault: Vault) -> None:
    assert await vault.put_secret("a", "third") == 3
    assert [(each.version, each.current) for each in await vault.versions("a")] == [(1, False), (2, False), (3, True)]
    assert await vault.rollback("a") == 2
    assert await vault.secret("a") == f"{CANARY} a 2"
    assert await vault.rollback("a", 1) == 1
    assert await vault.secret("a") == f"{CANARY} a 1"
    assert await vault.rollback("a", 3) == 3
    assert await vault.secret("a") == "third"
    await vault.rollback("a", 1)
    # What was rolled back is not written over.
    assert await vault.put_secret("a", "fourth") == 4
    assert [each.version for each in await vault.versions("a") if each.current] == [4]
    assert await vault.rollback("a", 3) == 3
    assert await vault.secret("a") == "third"


async def test_there_is_no_way_back_to_a_version_that_is_not_there(vault: Vault) -> None:
    await vault.rollback("a")
    for version, said in ((None, "before 1"), (0, "0"), (3, "3"), (-1, "-1")):
        with pytest.raises(StoreError, match=f"the secret 'a' has no version {said}$"):
            await vault.rollback("a", version)
    for work in (vault.rollback("none"), vault.versions("none")):
        with pytest.raises(StoreError, match="there is no secret 'none'"):
            await work
    assert await vault.secret("a") == f"{CANARY} a 1"


async def test_a_rollback_beside_writes_of_another_process_loses_none(kept: Kept, vault: Vault) -> None:
    written = []
    async with kept.open() as other:
        for n in range(25):
            version, _ = await asyncio.gather(other.put_secret("a", f"value {n}"), vault.rollback("a", 1))
            written.append((version, f"value {n}"))
    assert len({version for version, _ in written}) == 25
    for version, value in written:
        await vault.rollback("a", version)
        assert await vault.secret("a") == value


async def test_an_environment_follows_its_secrets(vault: Vault) -> None:
    await vault.put_secret("a", "new")
    assert await vault.environment("env-a") == {"S": "new", "L": f"{CANARY} literal a"}
    await vault.rollback("a", 1)
    assert await vault.environment("env-a") == {"S": f"{CANARY} a 1", "L": f"{CANARY} literal a"}
    assert await vault.variables("env-a") == {"S": SecretRef("a"), "L": f"{CANARY} literal a"}
    assert await vault.environment("none") is None
    assert await vault.variables("none") is None


async def test_an_environment_or_route_of_a_secret_that_is_not_there_is_refused(vault: Vault) -> None:
    for work in (
        vault.put_environment("e", {"A": SecretRef("a"), "N": SecretRef("none")}),
        vault.put_route(Route("r", "http://127.0.0.1", {"X": "{a} {none}"})),
    ):
        with pytest.raises(StoreError, match="there is no secret 'none': `oo secret set none` first"):
            await work
    assert await vault.names("env") == ["env-a", "env-b"]
    assert await vault.names("route") == ["route-a", "route-b"]


async def test_a_secret_that_others_need_is_not_removed(vault: Vault) -> None:
    with pytest.raises(StoreError, match="the secret 'a' is needed by the environment 'env-a', the route 'route-a'"):
        await vault.remove("secret", "a")
    assert await vault.secret("a") == f"{CANARY} a 2"
    await vault.remove("env", "env-a")
    with pytest.raises(StoreError, match=r"the secret 'a' is needed by the route 'route-a'$"):
        await vault.remove("secret", "a")
    await vault.remove("route", "route-a")
    await vault.remove("secret", "a")
    assert await vault.secret("a") is None
    assert await vault.names("secret") == ["b"]
    for kind, name in (("secret", "a"), ("env", "none"), ("route", "a")):
        with pytest.raises(StoreError, match=f"there is no {kind} '{name}'"):
            await vault.remove(kind, name)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["", ".a", "a/b", "a b", "é", "a" * 129, "a\n", "{a}"])
async def test_a_name_is_a_name(vault: Vault, name: str) -> None:
    for work in (vault.put_secret(name, "x"), vault.put_environment(name, {}), vault.versions(name)):
        with pytest.raises(StoreError, match="is no name"):
            await work


async def test_a_value_comes_back_as_it_was_up_to_a_size(vault: Vault) -> None:
    longest = MAX_ANSWER - 16 - len('{"value": ""}')
    for value in ("x" * longest, "é" * (longest // 6), "é\U0001f511\0\r\n\t \ud800", " "):
        await vault.put_secret("a", value)
        assert await vault.secret("a") == value
    await vault.put_secret("half", "x" * (longest // 2))
    halves = {name: SecretRef("half") for name in "ABC"}
    for work in (
        vault.put_secret("a", "x" * (longest + 1)),
        vault.put_secret("a", "é" * (longest // 6 + 1)),
        vault.put_environment("e", {"A": "x" * MAX_ANSWER}),
        vault.put_environment("e", halves),
    ):
        with pytest.raises(StoreError, match="larger than"):
            await work


async def test_a_change_by_another_shows_at_once(kept: Kept, vault: Vault) -> None:
    async with kept.open() as other:
        for n in range(10):
            await other.put_secret("a", f"value {n}")
            await asyncio.sleep(0.002)
            assert await vault.secret("a") == f"value {n}"
            await vault.put_secret("a", f"mine {n}")
            assert await vault.secret("a") == f"mine {n}"


async def test_a_write_that_fails_is_told_and_the_next_one_goes_on(vault: Vault) -> None:
    vault._writer.execute("PRAGMA max_page_count = 1")  # as full as a disk can be
    with pytest.raises(StoreError, match=r"vault\.db failed: database or disk is full"):
        await vault.put_secret("a", "x" * (MAX_ANSWER // 2))
    assert await vault.secret("a") == f"{CANARY} a 2"
    vault._writer.execute("PRAGMA max_page_count = 1000000")
    assert await vault.put_secret("a", "fits") == 3
    assert await vault.secret("a") == "fits"


async def test_a_first_result_is_kept_for_its_token_key_and_body(vault: Vault) -> None:
    result = StoredResponse(201, (("X-A", "1"),), b"\xff body")
    until = await claimed(vault, "id", "key")
    assert await vault.claim("id", "key", b"digest", 60) == "taken"
    others = await claimed(vault, "other", "key")
    await vault.settle("id", "key", until, result)
    assert await vault.claim("id", "key", b"digest", 60) == result
    assert await vault.claim("id", "key", b"another", 60) == "other"
    await vault.settle("other", "key", others, None)
    await claimed(vault, "other", "key", seconds=-1)
    # Nobody answers for that one any more.
    await claimed(vault, "other", "key")


async def test_a_claim_is_held_as_long_as_it_is_renewed(vault: Vault) -> None:
    until = await claimed(vault, "id", "key", seconds=-1)
    renewed = await vault.renew("id", "key", until, 60)
    assert renewed is not None
    assert renewed > until + 60
    assert await vault.claim("id", "key", b"digest", 60) == "taken"
    # By its end from before it is not known any more.
    assert await vault.renew("id", "key", until, 60) is None
    await vault.settle("id", "key", until, None)
    assert await vault.claim("id", "key", b"digest", 60) == "taken"
    await vault.settle("id", "key", renewed, None)
    await claimed(vault, "id", "key")


async def test_whoever_lost_a_claim_can_neither_hold_nor_keep_nor_end_it(vault: Vault) -> None:
    late, mine = StoredResponse(200, (), b"late"), StoredResponse(200, (), b"mine")
    lost = await claimed(vault, "id", "key", seconds=-1)
    until = await claimed(vault, "id", "key")
    assert await vault.renew("id", "key", lost, 60) is None
    for result in (late, None):
        await vault.settle("id", "key", lost, result)
        assert await vault.claim("id", "key", b"digest", 60) == "taken"
    await vault.settle("id", "key", until, mine)
    await vault.settle("id", "key", lost, late)
    assert await vault.claim("id", "key", b"digest", 60) == mine


async def claimed(vault: Vault, token_id: str, key: str, digest: bytes = b"digest", seconds: float = 60) -> float:
    """A call that becomes the caller's to make: until when."""
    until = await vault.claim(token_id, key, digest, seconds)
    assert isinstance(until, float)
    assert abs(until - time.time() - seconds) < 5
    return until


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
                assert json.loads(vault._read("secret", shared, version))["value"] == f"{own} {n}"
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
