"""What is asked of a store: by a running gateway, and by whoever keeps things in it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias, runtime_checkable

from ..models import AuthorityKey, Denial, Grant, Kind, Rate, Route, StoredResponse, Token, Variable, Version
from ..sealing import MasterKeys
from .data_keys import DataKey

if TYPE_CHECKING:
    from typing_extensions import Self

came = ContextVar("came", default=math.inf)
"""When the request came that is being answered here, by the monotonic clock: what it asks of a store may be as of a
moment since then, if that is not long ago."""


class Store(Protocol):
    """What a running gateway asks of whatever keeps its things. Every method may wait, and StoreError is what each
    raises when it fails: StoreUnavailable, where the store does not answer.

    Whatever was acknowledged to an owner before a method is called, or the request `came` that it is called for, is
    seen by it, in whichever process. Times are the store's own.
    """

    async def check(self) -> None:
        """StoreError if a thing could not be opened now: it is asked by `/ready`, and keeps nothing of the answer."""

    async def authorize(self, token: str, kind: Kind, *, key: str | None = None) -> Grant | Denial:
        """Look whether a token opens a thing of that kind, and charge the call to its rate. A token that is used up is
        denied, unless `key` is that of a call which is known. Counts no use. What is denied writes nothing."""

    async def opens(self, token: str, kind: Kind) -> Grant | Denial:
        """Look whether a token opens a thing of that kind still. Charges and counts nothing."""

    async def consume(self, token: str, kind: Kind) -> Grant | Denial:
        """Count one use of a token, whatever its rate. It is kept before this returns, and counted once for all
        processes; none is counted on a token that was revoked before."""

    async def secret(self, name: str) -> str | None:
        """A secret's current value."""

    async def put_secret(self, name: str, value: str) -> int:
        """Write a new version of a secret and make it the current one. Returns its number."""

    async def environment(self, name: str) -> dict[str, str] | None:
        """An environment's variables, each with its value."""

    async def route(self, name: str) -> Route | None:
        """A route: the same object until something is changed."""

    async def bundle(self, name: str) -> tuple[str, ...] | None:
        """The routes of a bundle, in its order."""

    async def authority(self) -> tuple[AuthorityKey, ...]:
        """The keys of the certificate authority, the oldest first. The first is made where there is none."""

    async def cors(self) -> frozenset[str]:
        """The origins that any route names."""

    async def claim(self, token: str, key: str, seconds: float) -> bytes | Denial | Literal["taken"]:
        """Claim a route's call and count one use of the token, both or neither. The claim lasts for `seconds`, and is
        kept before this returns. Returns its fence, which is drawn anew for each, or the Denial, or "taken": the call
        is known, so that it costs no use. What is claimed for whoever was cancelled meanwhile is released."""

    async def result(
        self, token_id: str, key: str, digest: bytes
    ) -> StoredResponse | Literal["taken", "other", "gone"] | None:
        """The stored response of a call; "taken" if it is being made, "other" if the key was used for a different
        request, "gone" if it was made and the response is not there, None if nobody makes that call."""

    async def renew(self, token_id: str, key: str, fence: bytes, seconds: float) -> bool:
        """Extend the claim with that fence to `seconds` from now; False if somebody else owns it."""

    async def complete(
        self, token_id: str, key: str, fence: bytes, digest: bytes, response: StoredResponse | None
    ) -> None:
        """Note that the call of the claim with that fence was made, what the request was, and store the response where
        there is one to store. StoreError if the response could not be stored: the call counts as made all the same.
        Does nothing if somebody else owns the claim. A body that does not flow is kept, and the call noted, even if
        whoever waits is cancelled."""

    async def release(self, token_id: str, key: str, fence: bytes) -> None:
        """Free the key of the claim with that fence, for the next to claim. Does nothing if somebody else owns it. It
        is done even if whoever waits is cancelled."""


Look: TypeAlias = "Callable[[float | None], None]"
"""Told how many seconds a look into the store's file took, or None of one that failed."""


@runtime_checkable
class WatchedStore(Protocol):
    """A store of which most is read from this process's memory."""

    def watch(self, told: Look) -> None:
        """Have `told` called for each look behind that."""


class Keeper(Store, Protocol):
    """What the commands ask of a store as well, and whoever else keeps things in it. It is open within its `async with`
    block."""

    async def versions(self, name: str) -> list[Version]:
        """The versions of a secret, the oldest first; StoreError if there is no such secret."""

    async def rollback(self, name: str, version: int | None = None) -> int:
        """Make an earlier version of a secret the current one; by default, the one before it. Returns its number."""

    async def put_environment(self, name: str, variables: Mapping[str, Variable]) -> None:
        """Write an environment, in place of an earlier one of that name."""

    async def put_route(self, route: Route) -> None:
        """Write a route, in place of an earlier one of that name."""

    async def put_bundle(self, name: str, routes: Sequence[str]) -> None:
        """Write a bundle of routes, in place of an earlier one of that name."""

    async def put_authority(self, keys: Sequence[AuthorityKey]) -> None:
        """Write the keys of the certificate authority, in place of those that are there."""

    async def names(self, kind: Kind) -> list[str]:
        """The names of a kind, in order."""

    async def variables(self, name: str) -> dict[str, Variable] | None:
        """An environment's variables as they were put, or None."""

    async def remove(self, kind: Kind, name: str) -> None:
        """Delete a thing and revoke its tokens, so that they don't open a later one of that name. StoreError if there
        is none, or if an environment or route needs it."""

    async def issue(
        self,
        kind: Kind,
        name: str,
        *,
        ttl: float | None = None,
        uses: int | None = None,
        rate: Rate | None = None,
        label: str = "",
        concurrency: int | None = None,
    ) -> str:
        """Make a token for one thing, for `ttl` seconds, `uses` uses and `concurrency` calls at once; None sets no
        limit. It cannot be read again later."""

    def id_of(self, token: str) -> str:
        """The id of a token that was issued here."""

    async def tokens(self) -> list[Token]:
        """Every token that was issued, the oldest first."""

    async def terms(self, token: str) -> tuple[Token, float] | Denial:
        """The terms of a token, how often it was used, and what its rate's last charge gave. Charges nothing."""

    async def revoke(self, token_id: str) -> None:
        """Revoke a token; StoreError if there is none of that id. Returns once no process opens it."""

    async def remove_tokens(self, useless: Callable[[Token], bool]) -> list[Token]:
        """Delete the tokens for which `useless` is true, and return them."""

    async def rekey(self, masters: MasterKeys, *, deep: bool = False) -> int:
        """Wrap the data keys with the current master key, however many records they seal: how many were not. With
        `deep`, seal every record anew as well, with new data keys: how many. If interrupted, run it again."""

    async def keys(self) -> list[DataKey]:
        """The data keys, as they are wrapped."""

    async def warnings(self) -> list[str]:
        """What of its promises the store cannot keep as it is set up."""

    async def close(self) -> None:
        """Close it, after the changes that were begun."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...
