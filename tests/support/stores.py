"""Stores and audits that need no file."""

from __future__ import annotations

from typing import Any, Literal

from oo.gateway.models import Grant, Kind, Route, StoredResponse

CANARY = "canary-in-an-error-77"


class LenientStore:
    """A store that lets everybody in, and then has nothing; or fails where it is to."""

    def __init__(self, failing: str = "", claim: Any = None) -> None:
        self.failing = failing
        self.claiming = claim
        self.settled: list[StoredResponse | None] = []

    async def authorize(self, token: str, kind: Kind) -> Grant:
        return await self.consume(token, kind)

    async def consume(self, token: str, kind: Kind) -> Grant:
        self._check("consume")
        return Grant("id", kind, "gone")

    async def secret(self, name: str) -> str | None:
        self._check("secret")
        return None

    async def environment(self, name: str) -> dict[str, str] | None:
        return None

    async def route(self, name: str) -> Route | None:
        return None

    async def claim(
        self, token_id: str, key: str, digest: bytes, seconds: float
    ) -> StoredResponse | float | Literal["taken", "other"]:
        found: float | Literal["taken", "other"] = await self.claiming()
        return found

    async def renew(self, token_id: str, key: str, until: float, seconds: float) -> float | None:
        return until

    async def complete(self, token_id: str, key: str, until: float, response: StoredResponse) -> None:
        self.settled.append(response)

    async def release(self, token_id: str, key: str, until: float) -> None:
        self.settled.append(None)

    def _check(self, what: str) -> None:
        if what == self.failing:
            raise RuntimeError(CANARY)


class Notes:
    """An audit."""

    def __init__(self) -> None:
        self.outcomes: list[str] = []

    def write(self, **note: Any) -> None:
        self.outcomes.append(note["outcome"])
