"""The rows of a store, as they are kept: what an engine brings, free of sealing and of rules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class TokenRow(NamedTuple):
    """What of a token is not sealed. `revision` changes whenever its record does."""

    hash: bytes
    id: str
    used: int
    revision: int


Sealed = tuple[str, bytes]
"""The id of a key, and what was sealed with it."""

Place = tuple[str, str, int]
"""What a sealed record is bound to: a kind, a name, a version."""


class Rows(Protocol):
    """The rows of one moment, or of one change. What changes them is committed whole or not at all by whoever opened
    them. A store whose calls do not wait runs these without an event loop."""

    async def find(self, place: Place) -> Sealed | None:
        """A record."""

    async def every(self, kind: str) -> list[tuple[Place, Sealed]]:
        """All records of a kind, by name and version."""

    async def places(self, kind: str, name: str | None = None) -> list[Place]:
        """Where the records of a kind are, of one name or all, by name and version."""

    async def latest(self, kind: str, name: str) -> int | None:
        """The latest version of a record."""

    async def put(self, place: Place, sealed: Sealed) -> None:
        """Write a record, in place of an earlier one."""

    async def delete(self, kind: str, name: str) -> bool:
        """Delete every version of a record; whether there was any."""

    async def meta(self, name: str) -> str | None:
        """A plain value of the store."""

    async def set_meta(self, name: str, value: str) -> None:
        """Write a plain value of the store."""

    async def key_ids(self) -> set[str]:
        """The ids of all keys that records other than data keys are sealed with."""

    async def sealed_otherwise(self, keys: Sequence[str], most: int) -> list[Place]:
        """Where up to so many records other than data keys are that are sealed with none of these."""

    async def token(self, hashed: bytes) -> TokenRow | None:
        """A token, by its hash."""

    async def tokens(self) -> list[TokenRow]:
        """All tokens, by their hashes."""

    async def add_token(self, hashed: bytes, token_id: str) -> None:
        """Write a new token, which was never used."""

    async def revise_token(self, token_id: str) -> None:
        """Draw a token's revision anew, so that no use is counted by what its record said."""

    async def remove_token(self, token_id: str) -> None:
        """Delete a token."""
