"""Idempotency keys: what makes a retried POST happen once.

The first call with a key is made, and its result kept; a repeat gets that result, and one that arrives while the first
is under way waits for it. A failure that a retry may mend is not kept: the next attempt is made. See
draft-ietf-httpapi-idempotency-key-header.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ..middleware.errors import RETRYABLE
from .store import Result, Store

_POLL = 0.02  # seconds between two looks at a call that another request, or another process, is making
_GRACE = 5.0  # seconds past its own timeout after which a call is taken to have died with its process


class Conflict(Exception):
    """The key was used with another body (`status` 422), or its first call never ended (409)."""

    def __init__(self, status: int, said: str) -> None:
        super().__init__(said)
        self.status = status
        self.said = said


class Claim:
    """An idempotent call: `result` is its first result, where there is one. Who makes the call sets `kept`, for those
    that come after."""

    def __init__(self, result: Result | None) -> None:
        self.result = result
        self.kept: Result | None = None

    def keep(self, result: Result) -> None:
        """Keep a result, unless a retry may better it."""
        self.kept = None if result.status in RETRYABLE else result


@asynccontextmanager
async def claimed(store: Store, token_id: str, key: str, call: bytes, timeout: float) -> AsyncIterator[Claim]:
    """The claim to the call with this key, waiting for one that is under way. `call` is what must be the same in a
    repeat. Conflict where it is not, or where the first does not end."""
    digest = hashlib.sha256(call).digest()
    patience = time.monotonic() + timeout + _GRACE
    while (found := await store.claim(token_id, key, digest, timeout + _GRACE)) == "taken":
        if time.monotonic() > patience:
            raise Conflict(409, "the first request with this Idempotency-Key is still under way")
        await asyncio.sleep(_POLL)
    if found == "other":
        raise Conflict(422, "this Idempotency-Key was used with another request")
    claim = Claim(found if isinstance(found, Result) else None)
    try:
        yield claim
    finally:
        if claim.result is None:
            # Also where the caller has left: the next one must not wait for a call that nobody makes.
            await asyncio.shield(store.settle(token_id, key, claim.kept))
