"""The keys of the store's certificate authority, as one record."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from ..models import AuthorityKey
from .records import Records

_PLACE = ("authority", "keys")


async def find(records: Records) -> tuple[AuthorityKey, ...] | None:
    """The keys, the oldest first; None where none was made."""
    stored: Any = await records.find_json(*_PLACE)
    return None if stored is None else tuple(AuthorityKey(**each) for each in stored)


async def begin(records: Records, private: str) -> tuple[AuthorityKey, ...]:
    """The keys: `private` alone, where none was made before."""
    found = await find(records)
    if found is None:
        found = (AuthorityKey(private, time.time()),)
        await put(records, found)
    return found


async def put(records: Records, keys: Sequence[AuthorityKey]) -> None:
    """Write the keys, in place of those that are there."""
    kind, name = _PLACE
    await records.put(kind, name, 0, [asdict(key) for key in keys])
