from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.command import Inside, refused


def test_a_store_is_looked_at_copied_and_filled(home: Path, vault: Inside, inside: Inside, tmp_path: Path) -> None:
    vault("secret", "set", "a", "--from-file", "-", input="value")
    found = {row["what"]: row["is"] for row in json.loads(vault("store", "status", "--json").stdout)}
    assert found.pop("data keys").startswith("5, wrapped by ")
    assert found == {"secrets": "1", "envs": "0", "routes": "0", "bundles": "0", "tokens": "0"}
    file = tmp_path / "copy.db"
    assert vault("store", "backup", str(file)).stdout.startswith("rows copied: ")
    assert "there is a file at" in refused(inside("store", "backup", str(file)))
    assert refused(inside("store", "backup", "/none/copy.db")) == "/none/copy.db: No such file or directory"
    other = tmp_path / "other"
    lost = refused(inside("store", "restore", str(file), "--store", str(other)))
    assert f"is not at {other / 'master.key'}: put back the one that it was made with" in lost
    other.mkdir(0o700)
    (other / "master.key").write_bytes((home / "master.key").read_bytes())
    (other / "master.key").chmod(0o600)
    assert vault("store", "restore", str(file), "--store", str(other)).stdout.startswith("rows restored: ")
    assert json.loads(vault("secret", "list", "--json", "--store", str(other)).stdout)[0]["name"] == "a"


def test_a_store_moves_once(home: Path, vault: Inside, inside: Inside, tmp_path: Path) -> None:
    vault("secret", "set", "a", "--from-file", "-", input="value")
    target = str(tmp_path / "new")
    assert vault("migrate", "--to", target).stdout.startswith("rows moved: ")
    assert vault("migrate", "--to", target).stdout == "it had moved already\n"
    for args in (("secret", "list"), ("serve", "--check"), ("serve", "--port", "0")):
        assert refused(inside(*args)).startswith(f"the store has moved to {target}:")  # before anything listens


@pytest.mark.parametrize("args", [("migrate", "--to"), ("store", "status", "--store")])
@pytest.mark.parametrize("place", ["mysql://127.0.0.1/canary", "posgres://127.0.0.1/canary"])
def test_another_engine_is_no_directory(
    place: str, args: tuple[str, ...], vault: Inside, inside: Inside, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = refused(inside(*args, place))
    assert said.endswith(f"{place.partition('//')[0]}/ is neither")
    assert "canary" not in said
    assert not list(tmp_path.glob("*:"))
    vault("secret", "list")  # the store is where it was


@pytest.mark.parametrize("args", [("migrate", "--to"), ("store", "status", "--store")])
def test_a_password_is_no_argument(home: Path, inside: Inside, args: tuple[str, ...]) -> None:
    said = refused(inside(*args, "postgres://me:canary@127.0.0.1/db"), code=2)
    assert "a password is never an argument" in said
    assert "canary" not in said
