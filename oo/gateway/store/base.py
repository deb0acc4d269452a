"""What a running gateway asks of a store."""

from __future__ import annotations

from typing import Literal, Protocol

from ..models import Denial, Grant, Kind, Route, StoredResponse


class Store(Protocol):
    """What a running gateway asks of whatever keeps its things. Every method may wait; none shows how it is kept."""

    async def redeem(self, token: str, kind: Kind, spend: bool = True) -> Grant | Denial:
        """Spend one use of a token on a thing of that kind, or only look whether it opens one."""

    async def secret(self, name: str) -> str | None:
        """A secret's current value."""

    async def environment(self, name: str) -> dict[str, str] | None:
        """An environment's variables, each with its value."""

    async def route(self, name: str) -> Route | None:
        """A route."""

    async def claim(
        self, token_id: str, key: str, digest: bytes, seconds: float
    ) -> StoredResponse | float | Literal["taken", "other"]:
        """Begin an idempotent call: its first result where there is one; until when the call is the caller's to make,
        which is for that many seconds; or whether it is being made ("taken"), or had another body ("other")."""

    async def renew(self, token_id: str, key: str, until: float, seconds: float) -> float | None:
        """Hold a claim `until` some time for so many seconds from now: until when, or None where it is another's."""

    async def settle(self, token_id: str, key: str, until: float, result: StoredResponse | None) -> None:
        """End a call that is claimed `until` some time: keep its result, or let the next one try. Nothing happens
        where the claim has become another's."""
