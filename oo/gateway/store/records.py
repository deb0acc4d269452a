"""Sealed records: each row's value is encrypted, and bound to its kind, name and version."""

from __future__ import annotations

import json
from typing import TypeVar

from ..._http.response import JSON
from ..errors import IntegrityError, StoreError
from ..sealing import Keyring, ReloadingKeyring
from .rows import Place, Rows, Sealed

T = TypeVar("T")


class Records:
    """The sealed records of a store, over its rows. IntegrityError for a record that was changed, moved, or sealed with
    a key that isn't on the ring."""

    def __init__(self, rows: Rows, keys: ReloadingKeyring) -> None:
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
        """Write a record, sealed with the vault's current key; StoreError if that isn't on the ring."""
        current = await self.current_key()
        ring = self._keys.holding(current)
        if ring is None:
            raise StoreError("the vault was moved to another master key: restart with the new one")
        await self.rows.put((kind, name, version), (current, ring.seal(current, kind, name, version, value)))

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

    async def current_key(self) -> str:
        """The id of the key that new records are sealed with."""
        key = await self.rows.meta("key")
        if key is None:
            raise IntegrityError("the vault does not say which master key is its own")
        return key

    async def begin_rekey(self, ring: Keyring) -> None:
        """Make the ring's current key the vault's; StoreError if some record's key isn't on the ring."""
        if any(key not in ring for key in await self.rows.key_ids()):
            raise StoreError("the vault holds what none of these keys opens; nothing was changed")
        await self.rows.set_meta("key", ring.current)

    async def reseal(self, ring: Keyring, place: Place) -> bool:
        """Seal a record with the ring's current key; False if it has been removed. StoreError if another `oo rekey`
        has made another key the vault's."""
        if await self.current_key() != ring.current:
            raise StoreError("another `oo rekey` has taken over")
        value = await self.find(*place)
        if value is None:
            return False
        await self.put_bytes(*place, value)
        return True

    def _opened(self, place: Place, sealed: Sealed) -> bytes:
        key, value = sealed
        ring = self._keys.holding(key)
        if ring is None:
            kind, name, _ = place
            raise IntegrityError(f"the {kind} {name!r} in the vault was sealed with a key that is not on the ring")
        return ring.open(key, *place, value)


def expect(kind: type[T], value: object) -> T:
    """The value of a column that isn't sealed; IntegrityError for another type, which a damaged file may hold."""
    if not isinstance(value, kind):
        raise IntegrityError("the vault is damaged: a column of it holds what was never put there")
    return value
