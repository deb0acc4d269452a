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
from oo.gateway.sealing import Keyring, key_id, new_key
from oo.gateway.vault import VAULT_FILE, Vault
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


def sealed_with(home: Path) -> dict[str, int]:
    """How many records each key has sealed."""
    with closing(sqlite3.connect(home / VAULT_FILE)) as db:
        return dict(db.execute("SELECT key, count(*) FROM records GROUP BY key"))


def name_of(key: str) -> str:
    return key_id(base64.b64decode(key))


def ended(process: subprocess.Popen[bytes]) -> tuple[int, bytes]:
    _, stderr = process.communicate(timeout=PATIENCE)
    return process.returncode, stderr


async def assert_all_there(vault: Vault) -> None:
    assert [await vault.secret(f"s{n}") for n in range(COUNT)] == [f"value {n}" for n in range(COUNT)]
    assert await vault.environment("e") == {"A": "value 1", "B": "literal"}


def test_a_server_answers_all_through_a_rekey(home: Home, tmp_path: Path) -> None:
    tokens = {home.token("secret", f"s{n}"): f"value {n}" for n in (0, 70, COUNT - 1)}
    counted = home.token("secret", "s1", uses=1000)
    old = keys(home)
    with closing(sqlite3.connect(home.path / VAULT_FILE)) as db:
        seals = [seal for (seal,) in db.execute("SELECT sealed FROM records")]
    with home.serve("--workers", "2") as served, reading(served.url, {**tokens, counted: "value 1"}) as wrong:
        said = home.oo("rekey")
        assert (said.returncode, said.stderr) == (0, "")
        assert wrong == []
        # Whoever copies the file alone has nothing that the old key opens, though its log is still in use.
        alone = (home.path / VAULT_FILE).read_bytes()
        assert not any(seal in alone for seal in seals)
        (tmp_path / VAULT_FILE).write_bytes(alone)
        assert set(sealed_with(tmp_path)) == {name_of(keys(home)[0])}
        # What is written afterwards shows as well, in the servers that began with the old key.
        home.secret("s2", "new value")
        assert {get(served.url, home.token("secret", "s2")).body for _ in range(4)} == {'{"value": "new value"}'}
    assert wrong == []
    assert served.news == []
    assert len(keys(home)) == 1
    assert keys(home) != old
    assert set(sealed_with(home.path)) == {name_of(keys(home)[0])}
    with pytest.raises(StoreError, match="the master key does not open the vault"):
        Vault(home.path, lambda: Keyring([base64.b64decode(old[0])]))


def test_a_rekey_leaves_no_piece_of_what_the_old_key_sealed(home: Home) -> None:
    new = Keyring([base64.b64decode(keys(home)[0]), new_key()])

    async def fill_unevenly(vault: Vault) -> None:
        for n in range(COUNT):
            await vault.put_secret(f"s{n * 7 % COUNT}", "x" * (40, 60, 280, 1_480, 4_980)[n * n % 11 % 5])

    home.run(fill_unevenly)
    with closing(sqlite3.connect(home.path / VAULT_FILE)) as db:
        seals = [seal for (seal,) in db.execute("SELECT sealed FROM records")]
    assert home.run(lambda vault: vault.rekey(new)) == len(seals)
    alone = (home.path / VAULT_FILE).read_bytes()
    assert [len(seal) for seal in seals if seal[:24] in alone or seal[-24:] in alone] == []


@pytest.mark.campaign
@pytest.mark.parametrize("share", [None, 0.0, 0.25, 0.5])
def test_a_rekey_that_was_killed_is_taken_up_by_the_next(home: Home, share: float | None) -> None:
    token = home.token("secret", "s70")
    (old,) = keys(home)
    with home.serve() as served, reading(served.url, {token: "value 70"}) as wrong:
        process = home.start("rekey", stderr=subprocess.PIPE, stdout=subprocess.PIPE)
        until(lambda: len(keys(home)) == 2)
        new = keys(home)[1]
        if share is not None:

            def moved() -> bool:
                process.send_signal(signal.SIGSTOP)  # it moves on only while nobody looks
                enough = sealed_with(home.path).get(name_of(new), 0) > COUNT * 2 * share
                process.send_signal(signal.SIGKILL if enough else signal.SIGCONT)
                return enough

            until(moved)
        process.kill()
        assert ended(process) == (-9, b"")
        assert sealed_with(home.path).get(name_of(old), 0) > 0
        # Whatever it came to, all can be read and written.
        home.run(assert_all_there)
        assert home.secret("while-it-waits", "value") == 1
        said = home.oo("rekey")
        assert (said.returncode, said.stderr) == (0, "")
        assert keys(home) == [new]
        assert set(sealed_with(home.path)) == {name_of(new)}
        home.run(assert_all_there)
        assert home.run(lambda vault: vault.secret("while-it-waits")) == "value"
    assert wrong == []


def test_a_rekey_that_was_killed_before_it_dropped_the_old_key_is_taken_up(home: Home) -> None:
    both = [base64.b64decode(keys(home)[0]), new_key()]
    write_keys(home.key, both)
    # The key file names the new key before the vault does: what is written then is sealed with the old one.
    assert home.secret("between", "value") == 1
    assert set(sealed_with(home.path)) == {key_id(both[0])}
    assert home.run(lambda vault: vault.rekey(Keyring(both))) > COUNT
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

            moved, _ = await asyncio.gather(vault.rekey(Keyring(both)), disturb())
            assert moved > 200
            assert [await other.secret(f"t{n}") for n in range(100, COUNT)] == [f"value {n}" for n in range(100, COUNT)]

    home.run(rekey)
    assert set(sealed_with(home.path)) == {key_id(both[1])}
