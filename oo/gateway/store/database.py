"""An open vault file: one connection reads on the event loop, another writes on a thread of its own (`writer.py`)."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TypeVar

from ..errors import IntegrityError, StoreError
from ..sealing import Keyring, ReloadingKeyring, new_key
from . import sqlite
from .records import Records
from .schema import SCHEMA, upgrade
from .writer import Writer

T = TypeVar("T")


class Database:
    """The vault's file. StoreError if it fails, or if the master key doesn't open it, in which case it isn't changed.

    `records` reads; a change gets records of its own that write. `root` is the random key that only the vault's master
    key opens.
    """

    def __init__(self, path: Path, keys: ReloadingKeyring) -> None:
        self.path = path
        with sqlite.failures(path), ExitStack() as opened:
            self.records = Records(opened.enter_context(closing(sqlite.reader(path))), path, keys)
            self.root = self._root()
            # After the root is read, since it carries over into the file what a crash left in the log.
            self.writer = opened.enter_context(closing(sqlite.writer(path)))
            upgrade(self.writer)
            opened.pop_all()
        self._changes = Writer(Records(self.writer, path, keys), path)

    def version(self) -> int:
        """A number that changes when another connection commits."""
        version: int = self.records.db.execute("PRAGMA data_version").fetchone()[0]
        return version

    def read(self, read: Callable[[Records], T]) -> T:
        """What `read` returns, all of it as of one moment."""
        with sqlite.snapshot(self.records.db):
            return read(self.records)

    async def write(self, change: Callable[[Records], T]) -> T:
        """Make a change, whole or not at all. It is on the disk when this returns."""
        return await self._changes.write(change)

    async def compact(self) -> bool:
        """Write the file anew, without what was replaced; False if other processes are busy with it."""
        return await self._changes.alone(sqlite.compact)

    def close(self) -> None:
        """Close the file, after the changes that were begun."""
        self._changes.close()
        # The last to close carries the log over into the file, which the reader cannot.
        self.records.db.close()
        self.writer.close()

    def _root(self) -> bytes:
        try:
            return self.records.read("root", "root", 1)
        except IntegrityError:
            pass
        raise StoreError(f"the master key does not open the vault {self.path}; nothing was changed")


def create(path: Path, ring: Keyring) -> None:
    """Make a new vault file, with a root of its own; StoreError if the file exists."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)

    def fill(db: sqlite3.Connection) -> None:
        db.execute("INSERT INTO meta VALUES ('key', ?)", (ring.current,))
        root = ring.seal(ring.current, "root", "root", 1, new_key())
        db.execute("INSERT INTO records VALUES ('root', 'root', 1, ?, ?)", (ring.current, root))

    try:
        with sqlite.failures(path):
            sqlite.create(path, SCHEMA, fill)
    except FileExistsError:
        raise StoreError(f"there is a vault at {path} already") from None
