from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from oo.gateway.errors import StoreError
from oo.gateway.open_store import is_postgres, key_home, open_store, place_of, shown
from oo.gateway.sealing import Keyring, new_key
from oo.gateway.vault import Vault
from tests.support.waiting import PATIENCE


def test_a_place_is_what_is_given_else_named_else_the_data_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OO_HOME", "/home/oo")
    assert place_of() == "/home/oo"
    monkeypatch.setenv("OO_STORE", "postgres://127.0.0.1/db")
    assert place_of() == "postgres://127.0.0.1/db"
    assert place_of("/elsewhere") == "/elsewhere"


@pytest.mark.parametrize(
    ("place", "postgres"), [("postgres://x/y", True), ("postgresql://x/y", True), ("/postgres://", False)]
)
def test_a_database_is_known_by_its_scheme(place: str, postgres: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OO_HOME", "/home/oo")
    assert is_postgres(place) is postgres
    assert key_home(place) == (Path("/home/oo") if postgres else Path(place))


async def test_a_directory_holds_a_vault(tmp_path: Path) -> None:
    ring = Keyring([new_key()])
    Vault.create(tmp_path, ring)
    async with open_store(str(tmp_path), lambda: ring) as store:
        assert isinstance(store, Vault)
        assert await store.put_secret("a", "x") == 1


def test_the_driver_is_loaded_where_a_database_is_named() -> None:
    code = """if True:
        import sys
        from oo.gateway.open_store import open_store
        import oo.gateway.app, oo.gateway.services, oo.testing
        assert "asyncpg" not in sys.modules
        open_store("postgres://127.0.0.1:1/db")
        assert "asyncpg" in sys.modules
    """
    environ = {**os.environ, "OO_MASTER_KEY": "ab" * 32}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr


def test_a_place_is_shown_without_its_password() -> None:
    assert shown("postgres://me:canary@127.0.0.1/db") == "postgres://127.0.0.1:5432/db"
    assert shown("/home/oo") == "/home/oo/vault.db"


@pytest.mark.parametrize(
    "place",
    [
        *("mysql://me:hidden@host/db", "redis://host", "postgres:/hidden", "https://host/hidden"),
        *('"postgres://me:hidden@host/db"', " postgres://host/hidden", "'mysql://host/hidden'", " "),
    ],
)
def test_another_engine_is_no_directory(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for given in (place, None):
        with pytest.raises(StoreError, match="a store is a directory, or postgres://") as caught:
            place_of(given)
        assert "hidden" not in str(caught.value)
        monkeypatch.setenv("OO_STORE", place)
