"""The rows of kept answers, each sealed in pieces. A piece's id is its answer's times MAX_PIECES, and its number.

An answer is known by its call and by the fence of the claim under which that was made, so a call that was made again
never gets an earlier answer. Ids grow with time, and so do fences: what is kept together stands on few pages.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import islice, takewhile
from typing import NamedTuple

from .. import kept
from ..sealing import Keyring
from .answer_pieces import MAX_PIECES, Call, Cut
from .sqlite import insert

FORMAT = 4
"""The `user_version` of a file with these tables."""

SCHEMA = f"""
PRAGMA user_version = {FORMAT};
CREATE TABLE results (
    id INTEGER PRIMARY KEY, token TEXT NOT NULL, call BLOB NOT NULL, fence BLOB NOT NULL, at REAL NOT NULL,
    size INTEGER NOT NULL, pieces INTEGER NOT NULL, UNIQUE (fence)
);
CREATE INDEX results_of_token ON results (token);
CREATE TABLE pieces (id INTEGER PRIMARY KEY, sealed BLOB NOT NULL);
CREATE TABLE totals (token TEXT PRIMARY KEY, size INTEGER NOT NULL) WITHOUT ROWID
"""
_STEP = 256  # answers that are dropped in one transaction
_STEP_BYTES = 64 << 20
_AT_ONCE = 16  # pieces that are held in memory until they are written
_ALL = ""  # whose total is that of all tokens


class Row(NamedTuple):
    """An answer as it is kept: how many pieces, and each, sealed."""

    call: Call
    at: float
    size: int
    pieces: int
    sealed: Iterable[bytes]


class Found(NamedTuple):
    """The row of an answer."""

    id: int
    at: float
    pieces: int


def put_all(
    db: sqlite3.Connection, ring: Keyring, answers: Sequence[tuple[Call, Cut]], now: float, room: int
) -> list[bool]:
    """Write answers, and drop the oldest beyond the bounds; False for each that cannot fit. All may hold `room`
    bytes."""
    rows = [Row(call, now, cut.size, cut.pieces, call.seal(ring, cut)) for call, cut in answers]
    fits = [row.size <= min(room, kept.MAX_OF_TOKEN) and row.pieces <= MAX_PIECES for row in rows]
    fitting = [row for row, each in zip(rows, fits, strict=True) if each]
    sizes = _sizes(fitting)
    for token, size in sizes.items():
        _make_room(db, "WHERE token = ?", (token,), kept.MAX_OF_TOKEN - size)
    _make_room(db, "", (), room - sum(sizes.values()))
    put_sealed(db, fitting)
    return fits


def put_sealed(db: sqlite3.Connection, rows: Sequence[Row]) -> None:
    """Write answers whose pieces are sealed already."""
    (last,) = db.execute("SELECT max(id) FROM results").fetchone()
    numbered = list(enumerate(rows, (last or 0) + 1))
    insert(
        db,
        "results",
        [
            (number, call.token, bytearray(call.key), bytearray(call.fence), at, size, pieces)
            for number, (call, at, size, pieces, _) in numbered
        ],
    )
    pieces = (
        (number * MAX_PIECES + n, bytearray(sealed)) for number, row in numbered for n, sealed in enumerate(row.sealed)
    )
    while some := list(islice(pieces, _AT_ONCE)):
        insert(db, "pieces", some)
    _add(db, _sizes(rows))


def _sizes(rows: Iterable[Row]) -> Counter[str]:
    """The bytes of each token."""
    sizes = Counter[str]()
    for row in rows:
        sizes[row.call.token] += row.size
    return sizes


def find(db: sqlite3.Connection, call: Call) -> Found | None:
    """The row of an answer, or None."""
    query = "SELECT id, at, pieces FROM results WHERE token = ? AND call = ? AND fence = ?"
    row = db.execute(query, call).fetchone()
    return None if row is None else Found(*row)


def piece(db: sqlite3.Connection, ring: Keyring, call: Call, found: Found, number: int) -> bytes | None:
    """A piece of an answer, or None where it was dropped."""
    row = db.execute("SELECT sealed FROM pieces WHERE id = ?", (found.id * MAX_PIECES + number,)).fetchone()
    return None if row is None else call.open(ring, found.pieces, number, row[0])


def has_older(db: sqlite3.Connection, before: float) -> bool:
    """Whether something was kept before that time."""
    oldest = db.execute("SELECT at FROM results ORDER BY id LIMIT 1").fetchone()
    return oldest is not None and bool(oldest[0] < before)


def sweep(db: sqlite3.Connection, before: float) -> bool:
    """Drop some of what was kept before that time; whether there was any."""
    rows = db.execute("SELECT id, token, size, at FROM results ORDER BY id LIMIT ?", (_STEP,))
    return bool(drop(db, [row for *row, _ in takewhile(lambda row: row[3] < before, rows)]))


def drop(db: sqlite3.Connection, rows: list[tuple[int, str, int]]) -> int:
    """Delete the first of these answers (id, token, size), 64 MiB at most; their bytes."""
    sizes = Counter[str]()
    for identity, token, size in rows:
        if sizes.total() >= _STEP_BYTES:
            break
        start = identity * MAX_PIECES
        db.execute("DELETE FROM pieces WHERE id BETWEEN ? AND ?", (start, start + MAX_PIECES - 1))
        db.execute("DELETE FROM results WHERE id = ?", (identity,))
        sizes[token] += size
    _add(db, Counter({token: -size for token, size in sizes.items()}))
    return sizes.total()


def total(db: sqlite3.Connection, token: str = _ALL) -> int:
    """The bytes that are kept, of one token or of all."""
    row = db.execute("SELECT size FROM totals WHERE token = ?", (token,)).fetchone()
    return 0 if row is None else int(row[0])


def _make_room(db: sqlite3.Connection, where: str, values: tuple[str, ...], most: int) -> None:
    over = total(db, *values) - most
    while over > 0:
        query = f"SELECT id, token, size FROM results {where} ORDER BY id LIMIT 1"  # noqa: S608
        dropped = drop(db, db.execute(query, values).fetchall())
        if not dropped:
            break
        over -= dropped


def _add(db: sqlite3.Connection, sizes: Counter[str]) -> None:
    query = "INSERT INTO totals VALUES (?, ?) ON CONFLICT (token) DO UPDATE SET size = size + excluded.size"
    db.executemany(query, [*sizes.items(), (_ALL, sizes.total())])
    db.executemany(
        "DELETE FROM totals WHERE token = ? AND size <= 0", [(token,) for token, size in sizes.items() if size < 0]
    )
