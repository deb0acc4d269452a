from __future__ import annotations

import errno
import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import pytest

from oo.gateway.errors import StoreError
from oo.gateway.paths import VAULT_FILE
from oo.gateway.store import sqlite
from oo.gateway.store.schema import SCHEMA


def test_a_vault_is_made_whole_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(InterruptedError), sqlite.creating(tmp_path / VAULT_FILE, SCHEMA):
        raise InterruptedError
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / VAULT_FILE
    with sqlite.creating(path, SCHEMA) as db:
        db.execute("INSERT INTO meta VALUES ('a', '1')")
    return path


def values(path: Path) -> list[tuple[str, str]]:
    with closing(sqlite.reader(path)) as db:
        return db.execute("SELECT * FROM meta ORDER BY name").fetchall()


def test_a_file_is_not_made_over_another(path: Path) -> None:
    with pytest.raises(FileExistsError), sqlite.creating(path, SCHEMA):
        pass
    assert list(path.parent.iterdir()) == [path]
    assert values(path) == [("a", "1")]


def test_a_file_that_cannot_be_made_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_paths: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted", "temporary")  # a file system without hard links

    with pytest.raises(FileNotFoundError) as missing, sqlite.creating(tmp_path / "none" / "copy", SCHEMA):
        pass
    assert missing.value.filename == str(tmp_path / "none" / "copy")
    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(PermissionError) as unlinked, sqlite.creating(tmp_path / "copy", SCHEMA):
        pass
    assert (unlinked.value.filename, unlinked.value.filename2) == (str(tmp_path / "copy"), None)
    assert list(tmp_path.iterdir()) == []


def test_a_transaction_is_all_or_nothing(path: Path) -> None:
    with closing(sqlite.writer(path)) as db:
        with sqlite.transaction(db):
            db.execute("INSERT INTO meta VALUES ('b', '2')")
        with pytest.raises(sqlite3.IntegrityError), sqlite.transaction(db):
            db.executemany("INSERT INTO meta VALUES (?, '3')", [("c",), ("a",)])
    assert values(path) == [("a", "1"), ("b", "2")]


def test_rows_that_do_not_all_fit_end_their_transaction(path: Path) -> None:
    with closing(sqlite.writer(path)) as db:
        with pytest.raises(sqlite3.IntegrityError), sqlite.transaction(db):
            sqlite.insert(db, "meta", [("b", "2"), ("a", "3")])
        ended = pytest.raises(sqlite3.OperationalError, match="no transaction is active")
        with ended, sqlite.transaction(db), suppress(sqlite3.IntegrityError):  # who goes on is told so
            sqlite.insert(db, "meta", [("c", "4"), ("a", "5")])
        assert not db.in_transaction
        with sqlite.transaction(db):
            sqlite.insert(db, "meta", [("e", "7")])
            sqlite.insert(db, "meta", [])
    assert values(path) == [("a", "1"), ("e", "7")]


def test_a_snapshot_is_of_one_moment(path: Path) -> None:
    with closing(sqlite.writer(path)) as db, closing(sqlite.reader(path)) as other:
        with sqlite.snapshot(other):
            before = other.execute("SELECT count(*) FROM meta").fetchone()
            with sqlite.transaction(db):
                db.execute("INSERT INTO meta VALUES ('b', '2')")
            assert other.execute("SELECT count(*) FROM meta").fetchone() == before
        assert other.execute("SELECT count(*) FROM meta").fetchone() != before


def test_a_reader_cannot_write_and_opens_no_missing_file(path: Path) -> None:
    with closing(sqlite.reader(path)) as db, pytest.raises(sqlite3.OperationalError, match="readonly"):
        db.execute("DELETE FROM meta")
    missing = path.parent / "missing"
    for opened in (sqlite.reader, sqlite.writer):
        with pytest.raises(sqlite3.OperationalError):
            opened(missing).execute("SELECT 1 FROM meta")
    assert not missing.exists()


def test_what_is_deleted_is_not_left_in_the_file(path: Path) -> None:
    with closing(sqlite.writer(path)) as db:
        for name in range(100):
            db.execute("INSERT INTO meta VALUES (?, 'what-is-deleted')", (str(name),))
        db.execute("DELETE FROM meta WHERE value = 'what-is-deleted'")
        assert sqlite.compact(db)
        found = b"".join(each.read_bytes() for each in path.parent.iterdir())
    assert b"what-is-deleted" not in found


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (sqlite3.OperationalError("disk full"), "failed: disk full$"),
        (UnicodeDecodeError("utf-8", b"the-value\xff", 9, 10, "no"), "failed: it is damaged$"),
    ],
)
def test_a_failure_is_a_message_without_values(path: Path, error: Exception, said: str) -> None:
    with pytest.raises(StoreError, match=said) as caught, sqlite.failures(path):
        raise error
    assert (caught.value.__cause__, caught.value.__suppress_context__) == (None, True)
