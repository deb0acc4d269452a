"""Stores and audits that need no file."""

from __future__ import annotations

from typing import Any, Literal

from oo._http.headers import Headers
from oo.gateway.context import GatewayContext
from oo.gateway.errors import GatewayError, StoreError
from oo.gateway.models import AuthorityKey, Denial, Grant, Kind, Route, StoredResponse

CANARY = "canary-in-an-error-77"


class LenientStore:
    """A store that lets everybody in, and then has nothing; or fails where it is to."""

    def __init__(self, failing: str = "", claim: Any = None, known: Any = None) -> None:
        self.failing = failing
        self.known = known
        self.claiming = claim
        self.settled: list[StoredResponse | Literal["made"] | None] = []
        """What became of each claim: stored, made without an answer that is stored, or released."""
        self.denial: Denial | None = None

    async def check(self) -> None:
        if self.failing == "check":
            raise StoreError("it cannot")

    async def authorize(self, token: str, kind: Kind, *, key: str | None = None) -> Grant:
        self._check("authorize")
        return Grant("id", kind, "gone")

    async def opens(self, token: str, kind: Kind) -> Grant | Denial:
        self._check("opens")
        return Grant("id", kind, "gone") if self.denial is None else self.denial

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

    async def bundle(self, name: str) -> tuple[str, ...] | None:
        return None

    async def authority(self) -> tuple[AuthorityKey, ...]:
        return ()

    async def cors(self) -> frozenset[str]:
        return frozenset()

    async def claim(self, token: str, key: str, seconds: float) -> bytes | Denial | Literal["taken"]:
        found: bytes | Denial | Literal["taken"] = await self.claiming()
        return found

    async def result(
        self, token_id: str, key: str, digest: bytes
    ) -> StoredResponse | Literal["taken", "other", "gone"] | None:
        return self.known() if callable(self.known) else self.known

    async def renew(self, token_id: str, key: str, fence: bytes, seconds: float) -> bool:
        return True

    async def complete(
        self, token_id: str, key: str, fence: bytes, digest: bytes, response: StoredResponse | None
    ) -> None:
        self.settled.append(response or "made")

    async def release(self, token_id: str, key: str, fence: bytes) -> None:
        self.settled.append(None)

    def _check(self, what: str) -> None:
        if what == self.failing:
            raise RuntimeError(CANARY)


class Notes:
    """An audit: the calls that began, and how each ended."""

    def __init__(self, refusing: GatewayError | None = None) -> None:
        self.begun: list[str] = []
        self.ended: list[dict[str, Any]] = []
        self.cuts: list[int] = []
        self.refusing = refusing

    @property
    def outcomes(self) -> list[str]:
        return [note["outcome"] for note in self.ended]

    def forwarded_for(self, peer: str | None, headers: Headers) -> str | None:
        return headers.get("X-Forwarded-For") if peer == "proxy" else None

    def begin(self, context: GatewayContext) -> None:
        self.begun.append(context.id)
        if self.refusing is not None:
            raise self.refusing

    def end(
        self, context: GatewayContext, outcome: str, status: int, bytes_out: int, upstream_id: str | None = None
    ) -> bool:
        noted = {"outcome": outcome, "status": status, "bytes_out": bytes_out, "upstream_id": upstream_id}
        self.ended.append({**vars(context), **noted})
        return self.refusing is None

    def cut(self, calls: int) -> None:
        self.cuts.append(calls)

    def is_writable(self) -> bool:
        return self.refusing is None
