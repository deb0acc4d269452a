"""The versions of a secret: a record for each, and a head that says which is the current and which the latest."""

from __future__ import annotations

import json
import time

from ..errors import IntegrityError, StoreError
from ..models import Version
from .records import Records


async def find_head(records: Records, name: str) -> dict[str, int] | None:
    """A secret's `current` and `latest` version, or None."""
    head: dict[str, int] | None = await records.find_json("head", name)
    # Detect a rolled-back head row: it would select an old version and let the next write overwrite a newer one.
    if await records.latest("secret", name) != (None if head is None else head["latest"]):
        raise IntegrityError(f"the versions of the secret {name!r} in the vault are not those that were put there")
    return head


async def current(records: Records, name: str) -> str | None:
    """The current value of a secret, or None."""
    head = await find_head(records, name)
    if head is None:
        return None
    value: str = json.loads(await records.read("secret", name, head["current"]))["value"]
    return value


async def listed(records: Records, name: str) -> list[Version]:
    """The versions of a secret, the oldest first; StoreError if there is no such secret."""
    head = await _known(records, name)
    return [
        Version(number, json.loads(await records.read("secret", name, number))["created"], number == head["current"])
        for number in await records.versions("secret", name)
    ]


async def add(records: Records, name: str, value: str) -> int:
    """Write a new version and make it the current one. Returns its number."""
    head = await find_head(records, name)
    latest = 1 if head is None else head["latest"] + 1
    await records.put("secret", name, latest, {"value": value, "created": time.time()})
    await records.put("head", name, 0, {"current": latest, "latest": latest})
    return latest


async def roll_back(records: Records, name: str, version: int | None) -> int:
    """Make a version the current one; the one before the current, if None. Returns its number. StoreError if there is
    no such secret or version."""
    head = await _known(records, name)
    wanted = head["current"] - 1 if version is None else version
    if await records.find("secret", name, wanted) is None:
        lacks = f"before {head['current']}" if version is None else str(version)
        raise StoreError(f"the secret {name!r} has no version {lacks}")
    await records.put("head", name, 0, {**head, "current": wanted})
    return wanted


async def _known(records: Records, name: str) -> dict[str, int]:
    head = await find_head(records, name)
    if head is None:
        raise StoreError(f"there is no secret {name!r}")
    return head
