from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from oo.gateway.models import StoredResponse
from oo.gateway.sealing import Keyring, new_key
from oo.gateway.store import result_rows, sqlite
from oo.gateway.store.answer_pieces import Call, Cut, new_fence
from oo.gateway.store.pages import PAGE, taken
from oo.gateway.store.results import PRAGMAS


@pytest.fixture
def db(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    path = tmp_path / "results.db"
    with sqlite.creating(path, result_rows.SCHEMA, PRAGMAS):
        pass
    with closing(sqlite.writer(path, PRAGMAS)) as db:
        yield db


def bytes_of(db: sqlite3.Connection) -> int:
    """The bytes of the file that are in use."""
    (pages,), (free,) = (db.execute(f"PRAGMA {name}").fetchone() for name in ("page_count", "freelist_count"))
    return int(pages - free) * PAGE


@pytest.mark.parametrize(
    "blob",
    [0, 100, 1014, 1015, 2032, 2033, 2100, 4057, 4058, 4550, 4551, 8149, 8150, 12_300, 65_564, (256 << 10) + 28],
)
def test_a_row_takes_what_is_counted(db: sqlite3.Connection, blob: int) -> None:
    before, count = bytes_of(db), max(64, min(4000, (4 << 20) // (blob + 1)))
    with sqlite.transaction(db):
        for number in range(count):
            sqlite.insert(db, "pieces", [((1 << 30) + number, bytes(blob))])
    assert (bytes_of(db) - before) / count == pytest.approx(taken(blob), rel=0.03)


@pytest.mark.parametrize("size", [10, 100, 1000, 2000, 2100, 4000, 5000, 10_000, 1 << 16, 1 << 20])
def test_answers_take_what_is_counted(db: sqlite3.Connection, size: int) -> None:
    """Never more, but for the pages of the trees above theirs; less where rows are shorter than the longest may be."""
    ring, before, count = Keyring([new_key()]), bytes_of(db), max(24, min(4000, (8 << 20) // (size + 400)))
    for _ in range(count):
        call = Call(os.urandom(8).hex(), os.urandom(32), new_fence())
        assert result_rows.put_all(db, ring, [(call, Cut(StoredResponse(200, (), bytes(size))))], 1.0, 1 << 30) == [
            True
        ]
    assert 0.85 < (bytes_of(db) - before) / result_rows.total(db) < 1.02
