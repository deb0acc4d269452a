"""Sealed records: each row's value is encrypted, and bound to its kind, name and version."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any, TypeVar

from ..._http.response import JSON
from ..errors import IntegrityError, StoreError
from ..sealing import Keyring, ReloadingKeyring
from .sqlite import failures

T = TypeVar("T")


class Records:
    """The sealed records of a vault, over one of its connections. What changes them needs the writing connection, in a
    transaction. IntegrityError for a record that was changed, moved, or sealed with a key that isn't on the ring."""

    def __init__(self, db: sqlite3.Connection, path: Path, keys: ReloadingKeyring) -> None:
        self.db = db
        self._path = path
        self._keys = keys

    def rows(self, query: str, values: tuple[Any, ...] = ()) -> list[Any]:
        """All rows of a query; StoreError if SQLite fails."""
        with failures(self._path):
            return self.db.execute(query, values).fetchall()

    def read(self, kind: str, name: str, version: int = 0) -> bytes:
        """A record's value; IntegrityError if there is none."""
        value = self.find(kind, name, version)
        if value is None:
            raise IntegrityError(f"the {kind} {name!r} is missing from the vault")
        return value

    def find(self, kind: str, name: str, version: int = 0) -> bytes | None:
        """A record's value, or None."""
        query = "SELECT key, sealed FROM records WHERE kind = ? AND name = ? AND version = ?"
        for key, sealed in self.rows(query, (kind, name, version)):
            ring = self._keys.holding(key)
            if ring is None:
                raise IntegrityError(f"the {kind} {name!r} in the vault was sealed with a key that is not on the ring")
            return ring.open(key, kind, name, version, sealed)
        return None

    def find_json(self, kind: str, name: str) -> JSON:
        """The JSON of a record without versions, or None."""
        value = self.find(kind, name)
        return None if value is None else json.loads(value)

    def put(self, kind: str, name: str, version: int, data: JSON) -> None:
        """Write a record as JSON, in place of an earlier one."""
        self.put_bytes(kind, name, version, json.dumps(data).encode())

    def put_bytes(self, kind: str, name: str, version: int, value: bytes) -> None:
        """Write a record, sealed with the vault's current key; StoreError if that isn't on the ring."""
        current = self.current_key()
        ring = self._keys.holding(current)
        if ring is None:
            raise StoreError("the vault was moved to another master key: restart with the new one")
        sealed = ring.seal(current, kind, name, version, value)
        self.db.execute("REPLACE INTO records VALUES (?, ?, ?, ?, ?)", (kind, name, version, current, sealed))

    def delete(self, kind: str, name: str) -> bool:
        """Delete a name's records of one kind, every version; whether there were any."""
        return self.db.execute("DELETE FROM records WHERE kind = ? AND name = ?", (kind, name)).rowcount > 0

    def names(self, kind: str) -> list[str]:
        """The names of a kind, in order."""
        return [name for (name,) in self.rows("SELECT name FROM records WHERE kind = ? ORDER BY name", (kind,))]

    def versions(self, kind: str, name: str) -> list[int]:
        """The versions of a record, the oldest first."""
        query = "SELECT version FROM records WHERE kind = ? AND name = ? ORDER BY version"
        return [version for (version,) in self.rows(query, (kind, name))]

    def latest(self, kind: str, name: str) -> int | None:
        """The latest version of a record, or None."""
        query = "SELECT max(version) FROM records WHERE kind = ? AND name = ?"
        ((latest,),) = self.rows(query, (kind, name))
        found: int | None = latest
        return found

    def current_key(self) -> str:
        """The id of the key that new records are sealed with."""
        for (key,) in self.rows("SELECT value FROM meta WHERE name = 'key'"):
            return str(key)
        raise IntegrityError("the vault does not say which master key is its own")

    def epoch(self) -> str | None:
        """What an owner's change draws anew, and a call that is counted does not."""
        for (epoch,) in self.rows("SELECT value FROM meta WHERE name = 'epoch'"):
            return str(epoch)
        return None

    def draw_epoch(self) -> None:
        """Tell whoever keeps what was read that it may have changed."""
        # Random, so that a vault which was restored never has one that was seen.
        self.db.execute("REPLACE INTO meta VALUES ('epoch', hex(randomblob(8)))")

    def begin_rekey(self, ring: Keyring) -> None:
        """Make the ring's current key the vault's; StoreError if some record's key isn't on the ring."""
        if any(key not in ring for (key,) in self.rows("SELECT DISTINCT key FROM records")):
            raise StoreError("the vault holds what none of these keys opens; nothing was changed")
        self.db.execute("REPLACE INTO meta VALUES ('key', ?)", (ring.current,))

    def sealed_otherwise(self, key: str) -> list[tuple[str, str, int]]:
        """Kind, name and version of up to 256 records that are sealed with another key."""
        return self.rows("SELECT kind, name, version FROM records WHERE key <> ? LIMIT 256", (key,))

    def reseal(self, ring: Keyring, place: tuple[str, str, int]) -> bool:
        """Seal a record with the ring's current key; False if it has been removed. StoreError if another `oo rekey`
        has made another key the vault's."""
        if self.current_key() != ring.current:
            raise StoreError("another `oo rekey` has taken over")
        value = self.find(*place)
        if value is None:
            return False
        self.put_bytes(*place, value)
        return True


def expect(kind: type[T], value: object) -> T:
    """The value of a column that isn't sealed; IntegrityError for another type, which a damaged file may hold."""
    if not isinstance(value, kind):
        raise IntegrityError("the vault is damaged: a column of it holds what was never put there")
    return value
