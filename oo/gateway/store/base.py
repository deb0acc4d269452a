"""What a running gateway asks of a store."""

from __future__ import annotations

from typing import Literal, Protocol

from ..models import Denial, Grant, Kind, Route, StoredResponse


class Store(Protocol):
    """What a running gateway asks of whatever keeps its things. Every method may wait, and StoreError is what each
    raises when it fails."""

    async def authorize(self, token: str, kind: Kind) -> Grant | Denial:
        """Look whether a token opens a thing of that kind. Counts no use and checks no limit of uses or rate."""

    async def consume(self, token: str, kind: Kind) -> Grant | Denial:
        """Authorize a token and count one use."""

    async def secret(self, name: str) -> str | None:
        """A secret's current value."""

    async def environment(self, name: str) -> dict[str, str] | None:
        """An environment's variables, each with its value."""

    async def route(self, name: str) -> Route | None:
        """A route."""

    async def claim(
        self, token_id: str, key: str, digest: bytes, seconds: float
    ) -> StoredResponse | float | Literal["taken", "other"]:
        """Claim a key. Returns the stored response, or the new claim's expiry (`seconds` from now, in seconds since
        1970), or "taken" (another holds it), or "other" (used with a different request)."""

    async def renew(self, token_id: str, key: str, until: float, seconds: float) -> float | None:
        """Extend the claim that expires at `until` by `seconds` from now. Returns the new expiry; None if somebody
        else owns it."""

    async def complete(self, token_id: str, key: str, until: float, response: StoredResponse) -> None:
        """Store the response of the claim that expires at `until`. Does nothing if somebody else owns it."""

    async def release(self, token_id: str, key: str, until: float) -> None:
        """Free the key of the claim that expires at `until`, for the next to claim. Does nothing if somebody else
        owns it."""
