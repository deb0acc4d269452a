"""An open vault file: one connection reads on the event loop, another writes on a thread of its own."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from ..errors import IntegrityError, StoreError
from ..sealing import Keyring, ReloadingKeyring, new_key
from . import sqlite
from .records import Records

T = TypeVar("T")


class Database:
    """The vault's file. StoreError if it fails, or if the master key doesn't open it, in which case it isn't changed.

    `records` reads; a change gets records of its own that write. `root` is the random key that only the vault's master
    key opens.
    """

    def __init__(self, path: Path, keys: ReloadingKeyring) -> None:
        self.path = path
        with sqlite.failures(path):
            reader = sqlite.reader(path)
            try:
                self.records = Records(reader, path, keys)
                self.root = self._root()
                # Last, since it carries over into the file what a crash left in the log.
                self.writer = sqlite.writer(path)
            except BaseException:
                reader.close()
                raise
        self._writing = Records(self.writer, path, keys)
        self._thread = ThreadPoolExecutor(1, "oo-vault")

    def version(self) -> int:
        """A number that changes when another connection commits."""
        version: int = self.records.db.execute("PRAGMA data_version").fetchone()[0]
        return version

    def read(self, read: Callable[[Records], T]) -> T:
        """What `read` returns, all of it as of one moment."""
        with sqlite.snapshot(self.records.db):
            return read(self.records)

    async def write(self, change: Callable[[Records], T]) -> T:
        """Make a change in one transaction. It is on the disk when this returns."""

        def write() -> T:
            with sqlite.transaction(self.writer):
                return change(self._writing)

        return await self._on_thread(write)

    async def compact(self) -> bool:
        """Write the file anew, without what was replaced; False if other processes are busy with it."""
        return await self._on_thread(lambda: sqlite.compact(self.writer))

    def close(self) -> None:
        """Close the file, after the changes that were begun."""
        self._thread.shutdown()
        # The last to close carries the log over into the file, which the reader cannot.
        self.records.db.close()
        self.writer.close()

    def _root(self) -> bytes:
        try:
            return self.records.read("root", "root", 1)
        except IntegrityError:
            pass
        raise StoreError(f"the master key does not open the vault {self.path}; nothing was changed")

    async def _on_thread(self, work: Callable[[], T]) -> T:
        def safe() -> T:
            with sqlite.failures(self.path):
                return work()

        return await asyncio.get_running_loop().run_in_executor(self._thread, safe)


def create(path: Path, ring: Keyring) -> None:
    """Make a new vault file, with a root of its own; StoreError if the file exists."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)

    def fill(db: sqlite3.Connection) -> None:
        db.execute("INSERT INTO meta VALUES ('key', ?)", (ring.current,))
        root = ring.seal(ring.current, "root", "root", 1, new_key())
        db.execute("INSERT INTO records VALUES ('root', 'root', 1, ?, ?)", (ring.current, root))

    try:
        with sqlite.failures(path):
            sqlite.create(path, fill)
    except FileExistsError:
        raise StoreError(f"there is a vault at {path} already") from None
