from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from oo.gateway.store import sqlite
from oo.gateway.vault import VAULT_FILE


def test_a_vault_is_made_whole_or_not_at_all(tmp_path: Path) -> None:
    def fails(db: sqlite3.Connection) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        sqlite.create(tmp_path / VAULT_FILE, fails)
    assert list(tmp_path.iterdir()) == []
