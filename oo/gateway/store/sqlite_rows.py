"""The rows of a vault's file."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .data_keys import DataKeys
from .records import Records
from .rows import Place, Sealed, TokenRow
from .sqlite import failures


class SQLiteRows:
    """The Rows of a connection. What changes them needs the writing connection, in a transaction. They never wait, so a
    thread without an event loop runs them. StoreError if SQLite fails."""

    def __init__(self, db: sqlite3.Connection, path: Path) -> None:
        self.db = db
        self._path = path

    async def find(self, place: Place) -> Sealed | None:
        query = "SELECT key, sealed FROM records WHERE kind = ? AND name = ? AND version = ?"
        for key, sealed in self._all(query, *place):
            return key, sealed
        return None

    async def every(self, kind: str) -> list[tuple[Place, Sealed]]:
        query = "SELECT name, version, key, sealed FROM records WHERE kind = ? ORDER BY name, version"
        return [((kind, name, version), (key, sealed)) for name, version, key, sealed in self._all(query, kind)]

    async def places(self, kind: str, name: str | None = None) -> list[Place]:
        which, values = ("", (kind,)) if name is None else (" AND name = ?", (kind, name))
        query = f"SELECT kind, name, version FROM records WHERE kind = ?{which} ORDER BY name, version"  # noqa: S608
        return self._all(query, *values)

    async def latest(self, kind: str, name: str) -> int | None:
        ((latest,),) = self._all("SELECT max(version) FROM records WHERE kind = ? AND name = ?", kind, name)
        found: int | None = latest
        return found

    async def put(self, place: Place, sealed: Sealed) -> None:
        self.db.execute("REPLACE INTO records VALUES (?, ?, ?, ?, ?)", (*place, *sealed))

    async def delete(self, kind: str, name: str) -> bool:
        return self.db.execute("DELETE FROM records WHERE kind = ? AND name = ?", (kind, name)).rowcount > 0

    async def meta(self, name: str) -> str | None:
        for (value,) in self._all("SELECT value FROM meta WHERE name = ?", name):
            return str(value)
        return None

    async def set_meta(self, name: str, value: str) -> None:
        self.db.execute("REPLACE INTO meta VALUES (?, ?)", (name, value))

    async def key_ids(self) -> set[str]:
        return {key for (key,) in self._all("SELECT DISTINCT key FROM records WHERE kind <> 'key'")}

    async def sealed_otherwise(self, keys: Sequence[str], most: int) -> list[Place]:
        but = f"kind <> 'key' AND key NOT IN ({', '.join('?' * len(keys))})"
        return self._all(f"SELECT kind, name, version FROM records WHERE {but} LIMIT ?", *keys, most)  # noqa: S608

    async def token(self, hashed: bytes) -> TokenRow | None:
        for identity, used in self._all("SELECT id, used FROM tokens WHERE hash = ?", hashed):
            return TokenRow(hashed, identity, used, 0)
        return None

    async def tokens(self) -> list[TokenRow]:
        return [TokenRow(*row) for row in self._all("SELECT hash, id, used, 0 FROM tokens ORDER BY hash")]

    async def add_token(self, hashed: bytes, token_id: str) -> None:
        self.db.execute("INSERT INTO tokens (hash, id) VALUES (?, ?)", (hashed, token_id))

    async def revise_token(self, token_id: str) -> None:
        """Do nothing: who counts a use compares the epoch in the same transaction."""

    async def remove_token(self, token_id: str) -> None:
        self.db.execute("DELETE FROM tokens WHERE id = ?", (token_id,))

    def said(self, name: str) -> tuple[str | None, str | None]:
        """A plain value, and the epoch, as of one moment. The epoch is what an owner's change draws anew, and a call
        that is counted does not."""
        one = "(SELECT value FROM meta WHERE name = ?)"
        ((value, epoch),) = self._all(f"SELECT {one}, {one}", name, "epoch")
        return value, epoch

    def draw_epoch(self) -> None:
        """Tell whoever keeps what was read that it may have changed."""
        # Random, so that a vault which was restored never has one that was seen.
        self.db.execute("REPLACE INTO meta VALUES ('epoch', hex(randomblob(8)))")

    def _all(self, query: str, *values: Any) -> list[Any]:
        with failures(self._path):
            return self.db.execute(query, values).fetchall()


class SQLiteRecords(Records):
    """The sealed records of a vault, over one of its connections."""

    rows: SQLiteRows

    def __init__(self, db: sqlite3.Connection, path: Path, keys: DataKeys) -> None:
        super().__init__(SQLiteRows(db, path), keys)

    @property
    def db(self) -> sqlite3.Connection:
        return self.rows.db
