"""The commands that keep a vault."""

from __future__ import annotations

import base64
import re
import secrets
from pathlib import Path

import pytest

from oo.gateway.keyring import write_keys
from tests.support import earlier
from tests.support.bao import Bao
from tests.support.command import CANARY, Inside, refused, value_of
from tests.support.postgres import free_port


def test_init_makes_a_vault_and_its_key_for_nobody_else(home: Path, inside: Inside) -> None:
    result = inside("init")
    assert str(home / "vault.db") in result.stdout
    assert str(home / "master.key") in result.stdout
    assert "keep a copy" in result.stdout
    assert {path.name: path.stat().st_mode & 0o777 for path in home.iterdir()} == {
        "vault.db": 0o600,
        "master.key": 0o600,
    }
    assert home.stat().st_mode & 0o777 == 0o700


def test_a_second_init_changes_nothing(home: Path, vault: Inside, inside: Inside) -> None:
    before = {path: path.read_bytes() for path in home.iterdir()}
    assert "already" in refused(inside("init"))
    assert {path: path.read_bytes() for path in home.iterdir()} == before


def test_init_makes_no_key_beside_a_vault_that_lost_its_own(home: Path, vault: Inside, inside: Inside) -> None:
    (home / "master.key").unlink()
    assert "missing" in refused(inside("init"))
    assert not (home / "master.key").exists()


def test_init_takes_the_key_that_the_environment_gives(
    home: Path, inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OO_MASTER_KEY", base64.b64encode(secrets.token_bytes(32)).decode())
    assert inside("init").stdout == f"vault {home / 'vault.db'}\n"
    assert [path.name for path in home.iterdir()] == ["vault.db"]


def test_init_takes_the_key_of_the_file_that_the_environment_names(
    home: Path, tmp_path: Path, inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "keys" / "oo.key"
    monkeypatch.setenv("OO_MASTER_KEY_FILE", str(path))
    # A path that is mistyped is no place for a new key.
    assert f"names {path}, and there is no file" in refused(inside("init"))
    assert not path.parent.exists()
    assert not home.exists()
    path.parent.mkdir()
    path.write_text(secrets.token_hex(32))
    path.chmod(0o600)
    assert inside("init").stdout == f"vault {home / 'vault.db'}\n"
    assert [path.name for path in home.iterdir()] == ["vault.db"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("secret", "list"),
        ("secret", "rm", "x"),
        ("env", "show", "x"),
        ("route", "list"),
        ("token", "issue", "--secret", "x"),
        ("token", "list"),
        ("audit",),
        ("rekey",),
        ("serve", "--port", "0"),
    ],
    ids=" ".join,
)
def test_without_a_vault_a_command_says_to_make_one(arguments: tuple[str, ...], home: Path, inside: Inside) -> None:
    assert "run `oo init`" in refused(inside(*arguments))
    assert not home.exists()


def test_another_key_opens_nothing_and_changes_nothing(home: Path, vault: Inside, inside: Inside) -> None:
    vault("secret", "set", "key", "--from-file", "-", input=CANARY)
    (home / "master.key").write_bytes(base64.b64encode(secrets.token_bytes(32)))
    before = (home / "vault.db").read_bytes()
    assert "nothing was changed" in refused(inside("secret", "list"))
    assert "nothing was changed" in refused(inside("rekey"))
    assert (home / "vault.db").read_bytes() == before


def test_a_file_that_is_no_vault_is_one_line(home: Path, vault: Inside, inside: Inside) -> None:
    (home / "vault.db").write_bytes(b"this is no vault at all" * 100)
    assert "vault" in refused(inside("secret", "list"))


@pytest.mark.parametrize(
    ("options", "said"),
    [((), r"data keys wrapped with the new key: 5\n"), (("--deep",), r"records sealed anew: [1-9]")],
)
def test_rekey_changes_the_key_and_keeps_the_values(
    full: Inside, home: Path, options: tuple[str, ...], said: str
) -> None:
    before = (home / "master.key").read_text()
    result = full("rekey", *options)
    assert re.match(said, result.stdout)
    assert result.stderr == ""
    after = (home / "master.key").read_text()
    assert len(after.split()) == 1
    assert after != before
    assert value_of("key") == CANARY


def test_rekey_of_an_earlier_vault_says_what_it_leaves(inside: Inside, home: Path) -> None:
    earlier.make(home)
    write_keys(home / "master.key", [earlier.KEY])
    assert "`oo rekey --deep` ends that" in inside("rekey").stderr
    assert inside("rekey", "--deep").stderr == inside("rekey").stderr == ""


def test_a_kms_keeps_the_master_key(home: Path, inside: Inside, bao: Bao, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in bao.environ.items():
        monkeypatch.setenv(name, value)
    assert "master key" not in inside("init").stdout
    inside("secret", "set", "key", "--from-file", "-", input=CANARY)
    assert {path.name for path in home.iterdir()} == {"vault.db", "vault.db-turn"}
    result = inside("rekey")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith("data keys wrapped with the new key: 5\nthe KMS of OO_KMS wraps them")
    assert f"5, wrapped by {bao.id}" in inside("store", "status").stdout
    monkeypatch.setenv("OO_KMS", f"{bao.url},master-key")
    assert "master.key: keep a copy elsewhere" in inside("rekey").stdout
    monkeypatch.delenv("OO_KMS")
    assert value_of("key") == CANARY
    monkeypatch.setenv("OO_KMS", bao.url)
    inside("rekey")
    monkeypatch.setenv("OO_MASTER_KEY", base64.b64encode(b"e" * 32).decode())
    monkeypatch.setenv("OO_KMS", f"{bao.url},master-key")
    assert inside("rekey").stdout == "data keys wrapped with the new key: 5\n"
    monkeypatch.delenv("OO_KMS")
    assert value_of("key") == CANARY
    monkeypatch.setenv("OO_KMS", f"openbao+http://127.0.0.1:{free_port()}/transit/keys/oo")
    assert "does not answer" in refused(inside("rekey"))
    assert value_of("key") == CANARY  # which asks the KMS for nothing


def test_rekey_of_a_key_in_the_environment_wants_both(
    home: Path, inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = (base64.b64encode(secrets.token_bytes(32)).decode() for _ in range(2))
    monkeypatch.setenv("OO_MASTER_KEY", old)
    inside("init")
    inside("secret", "set", "key", "--from-file", "-", input=CANARY)
    assert "OLD,NEW" in refused(inside("rekey"))
    monkeypatch.setenv("OO_MASTER_KEY", f"{new},{old}")
    result = inside("rekey")
    assert (result.exit_code, result.stdout[:24]) == (0, "nothing was wrapped anew")
    monkeypatch.setenv("OO_MASTER_KEY", f"{old},{new}")
    assert re.match(r"data keys wrapped with the new key: 5", inside("rekey").stdout)
    monkeypatch.setenv("OO_MASTER_KEY", new)
    assert value_of("key") == CANARY
