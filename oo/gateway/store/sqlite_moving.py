"""A vault's file, and the answers beside it, as what is moved and as where something is moved to."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

from ..errors import StoreError
from . import result_rows, sqlite
from .answer_pieces import MAX_PIECES, Call, begin_of, day_of
from .moving import CAME, MOVED, Counter, Made, Meta, Record, Row
from .results import PRAGMAS
from .schema import SCHEMA, upgrade
from .turns import Turn

_RECORDS = "SELECT kind, name, version, key, sealed FROM records ORDER BY kind <> 'key'"  # what opens the rest first
_TABLES = ("records", "tokens", "claims", "meta")


class SQLiteSource:
    """A vault's file that is moved or copied. With `results`, the answers to its calls as well."""

    def __init__(self, path: Path, results: Path | None = None) -> None:
        if not path.exists():
            raise StoreError(f"there is no vault at {path}: run `oo init`")
        self._path = path
        self._results = results
        self._turn = Turn(path)
        with sqlite.failures(path):
            self._db = sqlite.writer(path)
            upgrade(self._db)

    async def moved(self) -> str | None:
        return self._meta(MOVED)

    async def freeze(self, move: str) -> None:
        with sqlite.failures(self._path), self._turn, sqlite.transaction(self._db):
            self._db.execute("REPLACE INTO meta VALUES (?, ?)", (MOVED, move))
            self._db.execute("REPLACE INTO meta VALUES ('epoch', hex(randomblob(8)))")
            for table in _TABLES:
                for what in ("INSERT", "UPDATE", "DELETE"):
                    # Whoever has looked before and writes now must not count what is copied already.
                    self._db.execute(
                        f"CREATE TRIGGER moved_{table}_{what} BEFORE {what} ON {table}"
                        f" BEGIN SELECT RAISE(ABORT, '{sqlite.FROZEN}'); END"
                    )

    async def thaw(self) -> None:
        with sqlite.failures(self._path), self._turn, sqlite.transaction(self._db):
            for table in _TABLES:
                for what in ("INSERT", "UPDATE", "DELETE"):
                    self._db.execute(f"DROP TRIGGER IF EXISTS moved_{table}_{what}")
            self._db.execute("DELETE FROM meta WHERE name = ?", (MOVED,))
            self._db.execute("REPLACE INTO meta VALUES ('epoch', hex(randomblob(8)))")

    async def rows(self) -> AsyncGenerator[Row, None]:
        with sqlite.failures(self._path), sqlite.snapshot(self._db):
            for row in self._rows():
                yield row

    async def close(self) -> None:
        self._db.close()
        self._turn.close()

    def _rows(self) -> Iterator[Row]:
        yield from map(Meta._make, self._db.execute("SELECT name, value FROM meta WHERE name <> 'epoch'"))
        yield from map(Record._make, self._db.execute(_RECORDS))
        yield from map(Counter._make, self._db.execute("SELECT hash, id, used, tat FROM tokens"))
        with ExitStack() as stack:
            answers = None
            if self._results is not None and self._results.exists():
                answers = stack.enter_context(closing(sqlite.reader(self._results)))
            query = "SELECT token, call, holder, digest, at, until, done FROM claims ORDER BY token, number"
            for row in self._db.execute(query):
                yield Made._make((*row[:6], bool(row[6]), *(_answer(answers, row[:3]) if row[6] else (0, 0, ()))))

    def _meta(self, name: str) -> str | None:
        with sqlite.failures(self._path):
            row = self._db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])


class SQLiteTarget:
    """A vault's file that is made. With `results`, the file of answers beside it as well."""

    def __init__(self, path: Path, results: Path | None = None) -> None:
        self._path = path
        self._results = results

    async def came(self) -> str | None:
        if not self._path.exists():
            return None
        with sqlite.failures(self._path), closing(sqlite.reader(self._path)) as db:
            row = db.execute("SELECT value FROM meta WHERE name = ?", (CAME,)).fetchone()
        return "" if row is None else str(row[0])

    async def fill(self, rows: AsyncIterator[Row]) -> int:
        count = 0
        try:
            with sqlite.failures(self._path), ExitStack() as stack:
                db = stack.enter_context(sqlite.creating(self._path, SCHEMA))
                answers = None
                async for row in rows:
                    if isinstance(row, Made) and row.pieces and self._results is not None and answers is None:
                        # Before the vault's own, which is the last to be named: these may be lost.
                        sqlite.delete(self._results)
                        answers = stack.enter_context(sqlite.creating(self._results, result_rows.SCHEMA, PRAGMAS))
                    _put(db, answers, row, count)
                    count += 1
        except FileExistsError:
            what = "file" if self._results is None else "vault"  # a backup has no answers
            raise StoreError(f"there is a {what} at {self._path} already") from None
        return count

    async def close(self) -> None:
        """Do nothing: it is open only while it is filled."""


def _answer(answers: sqlite3.Connection | None, call: tuple[str, bytes, bytes]) -> tuple[int, int, tuple[bytes, ...]]:
    if answers is None:
        return 0, 0, ()
    query = "SELECT id, at, size FROM results WHERE token = ? AND call = ? AND fence = ?"
    row = answers.execute(query, call).fetchone()
    if row is None:
        return 0, 0, ()
    first = row[0] * MAX_PIECES
    pieces = answers.execute(
        "SELECT sealed FROM pieces WHERE id BETWEEN ? AND ? ORDER BY id", (first, first + MAX_PIECES - 1)
    )
    return day_of(row[1]), row[2], tuple(piece for (piece,) in pieces)


def _put(db: sqlite3.Connection, answers: sqlite3.Connection | None, row: Row, number: int) -> None:
    if isinstance(row, Meta):
        db.execute("INSERT INTO meta VALUES (?, ?)", row)
    elif isinstance(row, Record):
        db.execute("INSERT INTO records VALUES (?, ?, ?, ?, ?)", row)
    elif isinstance(row, Counter):
        db.execute("INSERT INTO tokens (hash, id, used, tat) VALUES (?, ?, ?, ?)", row)
    else:
        # The calls of a token are numbered as they come.
        values = (row.token, number, row.call, row.digest, row.at, row.until, row.done, row.fence)
        db.execute("INSERT INTO claims VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)
        if answers is not None and row.pieces:
            call = Call(row.token, row.call, row.fence)
            answer = result_rows.Row(call, begin_of(row.day), row.size, len(row.pieces), row.pieces)
            result_rows.put_sealed(answers, [answer])
