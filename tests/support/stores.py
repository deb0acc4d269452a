"""Stores and audits that need no file."""

from __future__ import annotations

from typing import Any, Literal

from oo.gateway.models import Denial, Grant, Kind, Route, StoredResponse

CANARY = "canary-in-an-error-77"


class LenientStore:
    """A store that lets everybody in, and then has nothing; or fails where it is to."""

    def __init__(self, failing: str = "", claim: Any = None, known: Any = None) -> None:
        self.failing = failing
        self.known = known
        self.claiming = claim
        self.settled: list[StoredResponse | None] = []

    async def authorize(self, token: str, kind: Kind, *, needs_use: bool = True) -> Grant:
        self._check("authorize")
        return Grant("id", kind, "gone")

    async def consume(self, token: str, kind: Kind) -> Grant:
        self._check("consume")
        return Grant("id", kind, "gone")

    async def secret(self, name: str) -> str | None:
        self._check("secret")
        return None

    async def put_secret(self, name: str, value: str) -> int:
        return 1

    async def environment(self, name: str) -> dict[str, str] | None:
        return None

    async def route(self, name: str) -> Route | None:
        return None

    async def claim(self, token: str, key: str, seconds: float) -> float | Denial | Literal["taken"]:
        found: float | Denial | Literal["taken"] = await self.claiming()
        return found

    async def bind(self, token_id: str, key: str, until: float, digest: bytes) -> bool:
        return True

    async def result(self, token_id: str, key: str, digest: bytes) -> StoredResponse | Literal["taken", "other"] | None:
        return self.known

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
