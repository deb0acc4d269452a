"""What a running gateway asks of a store."""

from __future__ import annotations

from typing import Literal, Protocol

from ..models import Denial, Grant, Kind, Route, StoredResponse


class Store(Protocol):
    """What a running gateway asks of whatever keeps its things. Every method may wait, and StoreError is what each
    raises when it fails."""

    async def check(self) -> None:
        """StoreError if a thing could not be opened now: it is asked by `/ready`, and keeps nothing of the answer."""

    async def authorize(self, token: str, kind: Kind, *, key: str | None = None) -> Grant | Denial:
        """Look whether a token opens a thing of that kind, and charge the call to its rate. A token that is used up is
        denied, unless `key` is that of a call which is known. Counts no use. What is denied writes nothing."""

    async def opens(self, token: str, kind: Kind) -> Grant | Denial:
        """Look whether a token opens a thing of that kind still. Charges and counts nothing."""

    async def consume(self, token: str, kind: Kind) -> Grant | Denial:
        """Count one use of a token, whatever its rate."""

    async def secret(self, name: str) -> str | None:
        """A secret's current value."""

    async def put_secret(self, name: str, value: str) -> int:
        """Write a new version of a secret and make it the current one. Returns its number."""

    async def environment(self, name: str) -> dict[str, str] | None:
        """An environment's variables, each with its value."""

    async def route(self, name: str) -> Route | None:
        """A route."""

    async def cors(self) -> frozenset[str]:
        """The origins that any route names."""

    async def claim(self, token: str, key: str, seconds: float) -> float | Denial | Literal["taken"]:
        """Claim a route's call and count one use of the token, both or neither. Returns the claim's expiry (`seconds`
        from now, in seconds since 1970), or the Denial, or "taken": the call is known, so that it costs no use."""

    async def result(
        self, token_id: str, key: str, digest: bytes
    ) -> StoredResponse | Literal["taken", "other", "gone"] | None:
        """The stored response of a call; "taken" if it is being made, "other" if the key was used for a different
        request, "gone" if it was made and the response is not there, None if nobody makes that call."""

    async def renew(self, token_id: str, key: str, until: float, seconds: float) -> float | None:
        """Extend the claim that expires at `until` by `seconds` from now. Returns the new expiry; None if somebody
        else owns it."""

    async def complete(
        self, token_id: str, key: str, until: float, digest: bytes, response: StoredResponse | None
    ) -> None:
        """Note that the call of the claim that expires at `until` was made, what the request was, and store the
        response where there is one to store. StoreError if the response could not be stored: the call counts as made
        all the same. Does nothing if somebody else owns the claim."""

    async def release(self, token_id: str, key: str, until: float) -> None:
        """Free the key of the claim that expires at `until`, for the next to claim. Does nothing if somebody else
        owns it."""
