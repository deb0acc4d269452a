"""Idempotency keys: what makes a retried POST happen once.

The first call with a key is made, and its result kept; a repeat gets that result, and one that arrives while the first
is under way waits for it. The first is made to its end even when its caller leaves: the caller who lost the connection
is the one who comes again. A failure that a retry may mend is not kept: the next attempt is made. See
draft-ietf-httpapi-idempotency-key-header.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from types import TracebackType
from typing import TYPE_CHECKING

from ..middleware.errors import RETRYABLE
from .store import Result, Store

if TYPE_CHECKING:
    from typing_extensions import Self

_POLL = 0.02  # seconds between two looks at a call that another request, or another process, is making
_GRACE = 5.0  # seconds past its own timeout after which a call is taken to have died with its process


class Conflict(Exception):
    """The key was used with another body (`status` 422), or its first call never ended (409)."""

    def __init__(self, status: int, said: str) -> None:
        super().__init__(said)
        self.status = status
        self.said = said


class Claim:
    """An idempotent call: `result` is its first result, where there is one. Else the call is made inside `async with`,
    and what it kept is there, or the next one may try, when that ends."""

    def __init__(self, store: Store, token_id: str, key: str, result: Result | None) -> None:
        self.result = result
        self._store = store
        self._place = (token_id, key)
        self._kept: Result | None = None

    def keep(self, result: Result) -> None:
        """Keep a result, unless a retry may better it."""
        self._kept = None if result.status in RETRYABLE else result

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # Also after a failure: the next one must not wait for a call that nobody makes.
        await asyncio.shield(self._store.settle(*self._place, self._kept))


async def claimed(store: Store, token_id: str, key: str, call: bytes, timeout: float) -> Claim:
    """The claim to the call with this key, waiting for one that is under way. `call` is what must be the same in a
    repeat. Conflict where it is not, or where the first does not end."""
    digest = hashlib.sha256(call).digest()
    patience = time.monotonic() + timeout + _GRACE
    while True:
        asking = asyncio.ensure_future(store.claim(token_id, key, digest, timeout + _GRACE))
        try:
            found = await asyncio.shield(asking)
        except asyncio.CancelledError:
            # The store goes on: what it gives to a caller who has left must be given back.
            if await asking == "mine":
                await store.settle(token_id, key, None)
            raise
        if found == "other":
            raise Conflict(422, "this Idempotency-Key was used with another request")
        if found != "taken":
            return Claim(store, token_id, key, found if isinstance(found, Result) else None)
        if time.monotonic() > patience:
            raise Conflict(409, "the first request with this Idempotency-Key is still under way")
        await asyncio.sleep(_POLL)
