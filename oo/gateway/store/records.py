"""Sealed records: each row's value is encrypted, and bound to its kind, name and version."""

from __future__ import annotations

import json
from typing import TypeVar

from ..._http.response import JSON
from ..errors import IntegrityError, UnknownKey
from ..sealing import Keyring, MasterKeys, new_key
from . import data_keys
from .rows import Place, Rows, Sealed

T = TypeVar("T")


class Records:
    """The sealed records of a store, over its rows. IntegrityError for a record that was changed or moved; UnknownKey
    for one whose data key is still to be unwrapped, after which the same is asked again."""

    def __init__(self, rows: Rows, keys: data_keys.DataKeys) -> None:
        self.rows = rows
        self._keys = keys

    async def read(self, kind: str, name: str, version: int = 0) -> bytes:
        """A record's value; IntegrityError if there is none."""
        value = await self.find(kind, name, version)
        if value is None:
            raise IntegrityError(f"the {kind} {name!r} is missing from the vault")
        return value

    async def find(self, kind: str, name: str, version: int = 0) -> bytes | None:
        """A record's value, or None."""
        place = (kind, name, version)
        sealed = await self.rows.find(place)
        return None if sealed is None else self._opened(place, sealed)

    async def find_json(self, kind: str, name: str) -> JSON:
        """The JSON of a record without versions, or None."""
        value = await self.find(kind, name)
        return None if value is None else json.loads(value)

    async def every_json(self, kind: str) -> dict[str, JSON]:
        """The JSON of all records of a kind without versions, by name."""
        return {place[1]: json.loads(self._opened(place, sealed)) for place, sealed in await self.rows.every(kind)}

    async def put(self, kind: str, name: str, version: int, data: JSON) -> None:
        """Write a record as JSON, in place of an earlier one."""
        await self.put_bytes(kind, name, version, json.dumps(data).encode())

    async def put_bytes(self, kind: str, name: str, version: int, value: bytes) -> None:
        """Write a record, sealed with the current key for its kind."""
        key = await data_keys.current(self.rows, kind)
        if not self._keys.has_opened(key):  # an old key whose row says that it is the newest must seal nothing
            raise UnknownKey(
                f"the data key {key.id!r} in the vault does not open: it was changed, or its master key is not here"
            )
        sealed = self._ring(key.id, kind, name).seal(key.id, kind, name, version, value)
        await self.rows.put((kind, name, version), (key.id, sealed))

    async def delete(self, kind: str, name: str) -> bool:
        """Delete a name's records of one kind, every version; whether there were any."""
        return await self.rows.delete(kind, name)

    async def names(self, kind: str) -> list[str]:
        """The names of a kind, in order."""
        return [name for _, name, _ in await self.rows.places(kind)]

    async def versions(self, kind: str, name: str) -> list[int]:
        """The versions of a record, the oldest first."""
        return [version for *_, version in await self.rows.places(kind, name)]

    async def latest(self, kind: str, name: str) -> int | None:
        """The latest version of a record, or None."""
        return await self.rows.latest(kind, name)

    async def reseal(self, place: Place) -> bool:
        """Seal a record with the current key for its kind; False if it has been removed."""
        value = await self.find(*place)
        if value is None:
            return False
        await self.put_bytes(*place, value)
        return True

    def _opened(self, place: Place, sealed: Sealed) -> bytes:
        key, value = sealed
        return self._ring(key, *place[:2]).open(key, *place, value)

    def _ring(self, key: str, kind: str, name: str) -> Keyring:
        ring = self._keys.ring
        if key not in ring:
            raise UnknownKey(f"the {kind} {name!r} in the vault is sealed with a key that is not on the ring")
        return ring


async def begin(rows: Rows, masters: MasterKeys) -> None:
    """Write what a store begins with: data keys, and a root of its own. May wait for a KMS."""
    keys, first = data_keys.DataKeys(lambda: masters), data_keys.first(masters)
    keys.learn(first)
    await data_keys.put_first(rows, first)
    await Records(rows, keys).put_bytes("root", "root", 1, new_key())


def expect(kind: type[T], value: object) -> T:
    """The value of a column that isn't sealed; IntegrityError for another type, which a damaged file may hold."""
    if not isinstance(value, kind):
        raise IntegrityError("the vault is damaged: a column of it holds what was never put there")
    return value
