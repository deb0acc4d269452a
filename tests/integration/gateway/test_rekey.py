from __future__ import annotations

import asyncio
import base64
import signal
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from oo.gateway import keyring
from oo.gateway.errors import StoreError
from oo.gateway.keyring import write_keys
from oo.gateway.models import SecretRef
from oo.gateway.paths import VAULT_FILE
from oo.gateway.sealing import Keyring, key_id, new_key
from oo.gateway.vault import Vault
from tests.support.processes import Home, get, reading, until
from tests.support.waiting import PATIENCE

COUNT = 150


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A vault with so many secrets that moving them takes a while."""
    home = Home(tmp_path / "home").made()

    async def fill(vault: Vault) -> None:
        for n in range(COUNT):
            await vault.put_secret(f"s{n}", f"value {n}")
        await vault.put_environment("e", {"A": SecretRef("s1"), "B": "literal"})

    home.run(fill)
    return home


def keys(home: Home) -> list[str]:
    return home.key.read_text().split()


def wrapped_by(home: Path) -> set[str]:
    """The master keys that wrap data keys."""
    with closing(sqlite3.connect(home / VAULT_FILE)) as db:
        return {key for (key,) in db.execute("SELECT DISTINCT key FROM records WHERE kind = 'key'")}


def sealed_with(home: Path) -> dict[str, int]:
    """How many records each data key has sealed."""
    with closing(sqlite3.connect(home / VAULT_FILE)) as db:
        return dict(db.execute("SELECT key, count(*) FROM records WHERE kind <> 'key' GROUP BY key"))


def seals_of(home: Path, where: str = "true") -> list[bytes]:
    with closing(sqlite3.connect(home / VAULT_FILE)) as db:
        return [seal for (seal,) in db.execute(f"SELECT sealed FROM records WHERE {where}")]


def name_of(key: str) -> str:
    return key_id(base64.b64decode(key))


def ended(process: subprocess.Popen[bytes]) -> tuple[int, bytes]:
    _, stderr = process.communicate(timeout=PATIENCE)
    return process.returncode, stderr


async def assert_all_there(vault: Vault) -> None:
    assert [await vault.secret(f"s{n}") for n in range(COUNT)] == [f"value {n}" for n in range(COUNT)]
    assert await vault.environment("e") == {"A": "value 1", "B": "literal"}


@pytest.mark.parametrize("deep", [False, True])
def test_a_server_answers_all_through_a_rekey(home: Home, tmp_path: Path, deep: bool) -> None:
    tokens = {home.token("secret", f"s{n}"): f"value {n}" for n in (0, 70, COUNT - 1)}
    counted = home.token("secret", "s1", uses=1000)
    old, sealed = keys(home), sealed_with(home.path)
    seals = seals_of(home.path, "true" if deep else "kind = 'key'")
    with home.serve("--workers", "2") as served, reading(served.url, {**tokens, counted: "value 1"}) as wrong:
        said = home.oo("rekey", *(["--deep"] if deep else []))
        assert (said.returncode, said.stderr) == (0, "")
        assert said.stdout.startswith("records sealed anew: " if deep else "data keys wrapped with the new key: 5\n")
        assert wrong == []
        # Whoever copies the file alone has nothing that the old key opens, though its log is still in use.
        alone = (home.path / VAULT_FILE).read_bytes()
        assert not any(seal in alone for seal in seals)
        (tmp_path / VAULT_FILE).write_bytes(alone)
        assert wrapped_by(tmp_path) == {name_of(keys(home)[0])}
        assert (sealed_with(tmp_path).keys() == sealed.keys()) != deep
        # What is written afterwards shows as well, in the servers that began with the old key.
        home.secret("s2", "new value")
        assert {get(served.url, home.token("secret", "s2")).body for _ in range(4)} == {'{"value": "new value"}'}
    assert wrong == []
    assert served.news == []
    assert len(keys(home)) == 1
    assert keys(home) != old
    assert not sealed_with(home.path).keys() & sealed.keys() if deep else sealed_with(home.path).keys() == sealed.keys()
    with pytest.raises(StoreError, match="the master key does not open the vault"):
        Vault(home.path, lambda: Keyring([base64.b64decode(old[0])]))


@pytest.mark.parametrize("deep", [False, True])
def test_a_rekey_leaves_no_piece_of_what_the_old_key_sealed(home: Home, deep: bool) -> None:
    new = Keyring([base64.b64decode(keys(home)[0]), new_key()])

    async def fill_unevenly(vault: Vault) -> None:
        for n in range(COUNT):
            await vault.put_secret(f"s{n * 7 % COUNT}", "x" * (40, 60, 280, 1_480, 4_980)[n * n % 11 % 5])

    home.run(fill_unevenly)
    seals = seals_of(home.path, "true" if deep else "kind = 'key'")
    assert home.run(lambda vault: vault.rekey(new, deep=deep)) == (len(seals) - 5 if deep else 5)
    alone = (home.path / VAULT_FILE).read_bytes()
    assert [len(seal) for seal in seals if seal[:24] in alone or seal[-24:] in alone] == []


def test_a_rekey_takes_as_long_however_many_records_there_are(home: Home) -> None:
    before = seals_of(home.path, "kind <> 'key'")
    changes: list[str] = []

    async def rekey(vault: Vault) -> int:
        vault._database.writer.set_trace_callback(changes.append)
        return await vault.rekey(Keyring([base64.b64decode(keys(home)[0]), new_key()]))

    assert home.run(rekey) == 5
    assert seals_of(home.path, "kind <> 'key'") == before
    assert len([said for said in changes if said.startswith("REPLACE INTO records")]) == 5
    assert [said for said in changes if said == "BEGIN IMMEDIATE"] == ["BEGIN IMMEDIATE"]


@pytest.mark.campaign
@pytest.mark.parametrize("share", [None, 0.0, 0.25, 0.5])
def test_a_deep_rekey_that_was_killed_is_taken_up_by_the_next(home: Home, share: float | None) -> None:
    token = home.token("secret", "s70")
    counted = home.token("secret", "s70", uses=100_000)
    before = sealed_with(home.path)
    with home.serve() as served, reading(served.url, {token: "value 70", counted: "value 70"}) as wrong:
        process = home.start("rekey", "--deep", stderr=subprocess.PIPE, stdout=subprocess.PIPE)
        until(lambda: len(keys(home)) == 2)
        new = keys(home)[1]
        if share is not None:

            def moved() -> bool:
                process.send_signal(signal.SIGSTOP)  # it moves on only while nobody looks
                anew = sum(count for key, count in sealed_with(home.path).items() if key not in before)
                enough = anew > COUNT * 2 * share
                process.send_signal(signal.SIGKILL if enough else signal.SIGCONT)
                return enough

            until(moved)
        process.kill()
        assert ended(process) == (-9, b"")
        assert sealed_with(home.path).keys() & before.keys()
        # Whatever it came to, all can be read and written.
        home.run(assert_all_there)
        assert home.secret("while-it-waits", "value") == 1
        # Another without --deep wraps the keys of both, and leaves the rest to the next with it.
        said = home.oo("rekey")
        assert (said.returncode, keys(home)) == (0, [new])
        assert share is None or "`oo rekey --deep` is under way, or was stopped" in said.stderr
        home.run(assert_all_there)
        said = home.oo("rekey", "--deep")
        assert (said.returncode, said.stderr, len(keys(home))) == (0, "", 1)
        assert wrapped_by(home.path) == {name_of(keys(home)[0])}
        assert not sealed_with(home.path).keys() & before.keys()
        assert len(sealed_with(home.path)) == 3  # secrets, environments, tokens
        home.run(assert_all_there)
        assert home.run(lambda vault: vault.secret("while-it-waits")) == "value"
    assert wrong == []


def test_a_rekey_that_was_killed_before_it_dropped_the_old_key_is_taken_up(home: Home) -> None:
    both = [base64.b64decode(keys(home)[0]), new_key()]
    write_keys(home.key, both)
    # The key file names the new key before the vault does.
    assert home.secret("between", "value") == 1
    assert wrapped_by(home.path) == {key_id(both[0])}
    assert home.run(lambda vault: vault.rekey(Keyring(both))) == 5
    said = home.oo("rekey")
    assert (said.returncode, said.stderr) == (0, "")
    assert keyring.read_keys(home.path, {}) == both[1:]
    assert home.run(lambda vault: vault.secret("between")) == "value"
    home.run(assert_all_there)


def test_keys_of_the_environment_move_from_the_old_to_the_new(home: Home) -> None:
    (old,) = keys(home)
    home.key.unlink()
    new = base64.b64encode(new_key()).decode()
    said = home.oo("rekey", OO_MASTER_KEY=old)
    assert (said.returncode, said.stderr) == (1, 'oo: OO_MASTER_KEY holds one key: set it to "OLD,NEW" first\n')
    token = home.oo("token", "issue", "--secret", "s70", OO_MASTER_KEY=old).stdout.strip()
    home.environ["OO_MASTER_KEY"] = f"{old},{new}"
    with home.serve() as served, reading(served.url, {token: "value 70"}) as wrong:
        said = home.oo("rekey")
        assert (said.returncode, said.stderr) == (0, "")
    assert wrong == []
    assert not home.key.exists()
    assert home.oo("secret", "list", OO_MASTER_KEY=new).returncode == 0
    refused = home.oo("secret", "list", OO_MASTER_KEY=old)
    assert refused.returncode == 1
    assert "the master key does not open the vault" in refused.stderr
    home.key.touch(0o600)
    home.key.write_text(new)
    home.run(assert_all_there)


@pytest.mark.parametrize("in_file", [True, False])
def test_a_rekey_with_a_wrong_key_changes_nothing(home: Home, in_file: bool) -> None:
    wrong, other = (base64.b64encode(new_key()).decode() for _ in range(2))
    if in_file:
        home.key.write_text(wrong)
    environ: dict[str, str] = {} if in_file else {"OO_MASTER_KEY": f"{wrong},{other}"}
    before = {path.name: path.read_bytes() for path in (home.key, home.path / VAULT_FILE)}
    said = home.oo("rekey", **environ)
    assert said.returncode == 1
    assert said.stderr.count("\n") == 1
    assert "the master key does not open the vault" in said.stderr
    assert {name: (home.path / name).read_bytes() for name in before} == before


def test_a_ring_that_lacks_the_old_key_moves_nothing(home: Home) -> None:
    before = (home.path / VAULT_FILE).read_bytes()
    with pytest.raises(StoreError, match="none of these keys opens; nothing was changed"):
        home.run(lambda vault: vault.rekey(Keyring([new_key()])))
    assert (home.path / VAULT_FILE).read_bytes() == before
    assert home.secret("s1", "goes on") == 2


def test_a_rekey_says_where_the_file_still_holds_what_the_old_key_opens(home: Home) -> None:
    both = [base64.b64decode(keys(home)[0]), new_key()]
    write_keys(home.key, both)

    async def rekey(vault: Vault) -> int:
        vault._database.writer.execute("PRAGMA busy_timeout = 50")
        return await vault.rekey(Keyring(both))

    with closing(sqlite3.connect(home.path / VAULT_FILE, isolation_level=None)) as other:
        other.execute("BEGIN")
        other.execute("SELECT count(*) FROM records").fetchone()
        with pytest.raises(StoreError, match="still holds what the old key opens"):
            home.run(rekey)
    assert home.run(rekey) == 0


def test_rekeys_at_once_lose_no_key(home: Home) -> None:
    processes = [home.start("rekey", stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(3)]
    codes = []
    for code, stderr in map(ended, processes):
        codes.append(code)
        assert code in (0, 1)
        assert stderr.count(b"\n") == code
    assert 0 in codes
    assert home.oo("rekey").returncode == 0
    assert len(keys(home)) == 1
    home.run(assert_all_there)


def test_what_is_removed_or_written_during_a_rekey_does_not_stop_it(home: Home) -> None:
    both = [base64.b64decode(keys(home)[0]), new_key()]
    write_keys(home.key, both)

    async def rekey(vault: Vault) -> None:
        async with Vault(home.path, home.ring) as other:

            async def disturb() -> None:
                for n in reversed(range(100, COUNT)):
                    await other.remove("secret", f"s{n}")
                    await other.put_secret(f"t{n}", f"value {n}")

            moved, _ = await asyncio.gather(vault.rekey(Keyring(both), deep=True), disturb())
            assert moved > 200
            assert [await other.secret(f"t{n}") for n in range(100, COUNT)] == [f"value {n}" for n in range(100, COUNT)]

    before = sealed_with(home.path).keys()
    home.run(rekey)
    assert wrapped_by(home.path) == {key_id(both[1])}
    assert not sealed_with(home.path).keys() & before
