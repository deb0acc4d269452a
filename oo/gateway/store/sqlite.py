"""SQLite files: how they are made, their connections, their transactions."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from functools import lru_cache
from itertools import chain
from pathlib import Path
from types import TracebackType

from ..errors import StoreError, StoreUnavailable

FROZEN = "it has moved"
"""What a trigger says in a file that takes no further change."""

_VAULT = ("journal_mode = WAL", "synchronous = FULL", "secure_delete = ON")


@contextmanager
def creating(path: Path, schema: str, pragmas: Iterable[str] = _VAULT) -> Iterator[sqlite3.Connection]:
    """Make a file with mode 0600 and what the block puts into it, whole or not at all. FileExistsError if it exists, or
    another OSError, which names it, if it cannot be made."""
    with _naming(path):
        handle, unnamed = tempfile.mkstemp(prefix=".oo-", dir=path.parent)
    os.close(handle)
    try:
        with closing(writer(Path(unnamed), pragmas)) as db, transaction(db):
            for statement in schema.split(";"):
                db.execute(statement)
            yield db
        with _naming(path):
            os.link(unnamed, path)
    finally:
        os.unlink(unnamed)


def writer(path: Path, pragmas: Iterable[str] = _VAULT) -> sqlite3.Connection:
    """A connection that writes. By default its commits are on the disk when they return, and it overwrites what it
    deletes."""
    db = _connect(path, "rw")
    try:
        for pragma in pragmas:
            db.execute(f"PRAGMA {pragma}")
    except BaseException:
        db.close()
        raise
    return db


def reader(path: Path) -> sqlite3.Connection:
    """A connection that cannot write, not even to carry over into the file what a crash left in the log."""
    return _connect(path, "ro")


def delete(path: Path) -> None:
    """Delete a file, and the log that would be carried over into the next of that name."""
    for suffix in ("", "-wal", "-shm"):
        with suppress(OSError):
            os.unlink(f"{path}{suffix}")


def transaction(db: sqlite3.Connection) -> begun:
    """Begin one, to commit everything that the block writes, or nothing. No other process writes meanwhile."""
    db.execute("BEGIN IMMEDIATE")
    return begun(db)


class begun:  # noqa: N801  # it reads as what it is: `with begun(db):`
    """Ends a transaction that has begun: everything that the block writes, or nothing."""

    __slots__ = ("_db",)

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._db.execute("COMMIT")
        finally:
            # Where it failed. A full disk, or a row that did not fit, may have ended the transaction already.
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")


def insert(db: sqlite3.Connection, table: str, rows: Sequence[Sequence[object]]) -> None:
    """Write rows by one statement: between two, a thread would wait for its turn among those of its process. Where one
    fails, the transaction ends without effect. Their bytes are best given as a bytearray: sqlite3 looks for an adapter
    of each `bytes`, which takes ten times as long as to copy it."""
    if rows:
        # ABORT, the default, would copy each page that is written, to take back the rows before the one that fails.
        statement = f"INSERT OR ROLLBACK INTO {table} VALUES {places(len(rows), len(rows[0]))}"  # noqa: S608
        db.execute(statement, list(chain.from_iterable(rows)))


@lru_cache(512)  # of up to 64 rows, for each statement that has some
def places(rows: int, columns: int) -> str:
    """The places of so many rows of values in a statement."""
    return ", ".join([f"({', '.join('?' * columns)})"] * rows)


def compact(db: sqlite3.Connection) -> bool:
    """Write the file anew, without what was replaced; False if other processes are busy with it."""
    # `secure_delete` leaves copies of what was moved within a page. The file itself changes only when the log is
    # carried over into it.
    db.execute("VACUUM")
    busy: int = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    return not busy


def carry_over(db: sqlite3.Connection) -> None:
    """Carry what is in the log over into the file, as far as nobody still reads what is there."""
    db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()


@contextmanager
def patient(db: sqlite3.Connection, seconds: float) -> Iterator[None]:
    """Wait so long for a file that another process writes to, where the connection waits for none."""
    db.execute(f"PRAGMA busy_timeout = {int(seconds * 1000)}")
    try:
        yield
    finally:
        db.execute("PRAGMA busy_timeout = 0")


def snapshot(db: sqlite3.Connection) -> begun:
    """Begin one in which everything that the block reads is as of one moment."""
    db.execute("BEGIN")
    return begun(db)


class failures:  # noqa: N801  # it reads as what it does: `with failures(path):`
    """Turns SQLite's errors, which hold no values, into StoreError."""

    __slots__ = ("_path", "_what")

    def __init__(self, path: Path, what: str = "vault") -> None:
        self._path = path
        self._what = what

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if isinstance(error, sqlite3.IntegrityError) and str(error) == FROZEN:
            raise StoreUnavailable(f"the {self._what} {self._path} has moved") from None
        if isinstance(error, (sqlite3.Error, UnicodeDecodeError)):
            # A UnicodeDecodeError would quote a piece of the damaged file.
            said = "it is damaged" if isinstance(error, UnicodeDecodeError) else str(error)
            failure = StoreUnavailable if "locked" in said else StoreError  # others write, for as long as one waits
            raise failure(f"the {self._what} {self._path} failed: {said}") from None


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """An OSError of the block names the path that was asked for, not the one that is taken on the way."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    # The mode doesn't create a missing file. The threads that share a connection take turns.
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    return sqlite3.connect(uri, uri=True, timeout=10, isolation_level=None, check_same_thread=False)
