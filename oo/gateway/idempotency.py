"""Idempotency keys: what makes a retried POST happen once.

The first call with a key is made, and its result kept; a repeat gets that result, and one that arrives while the first
is under way waits for it. The first is made to its end even when its caller leaves: the caller who lost the connection
is the one who comes again. Its claim is held for as long as it lasts, and ends by itself where its process has died.
A failure that a retry may mend is not kept: the next attempt is made. See draft-ietf-httpapi-idempotency-key-header.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING

from .._core.errors import RETRYABLE
from .errors import Conflict, StoreError
from .models import StoredResponse
from .store.base import Store

if TYPE_CHECKING:
    from typing_extensions import Self

logger = logging.getLogger("oo.gateway")

_POLL = 0.02  # seconds between two looks at a call that another request, or another process, is making
_GRACE = 5.0  # seconds past the timeout for which a claim is held that nobody renews


class Claim:
    """An idempotent call: `result` is its first result, where there is one. Else the call is made inside `async with`,
    and what it kept is there, or the next one may try, when that ends."""

    def __init__(self, store: Store, token_id: str, key: str, found: StoredResponse | float, seconds: float) -> None:
        self.result: StoredResponse | None = None
        self._until = 0.0
        if isinstance(found, StoredResponse):
            self.result = found
        else:
            self._until = found
        self._store = store
        self._place = (token_id, key)
        self._seconds = seconds
        self._kept: StoredResponse | None = None

    def keep(self, result: StoredResponse) -> None:
        """Keep a result, unless a retry may better it."""
        self._kept = None if result.status in RETRYABLE else result

    async def __aenter__(self) -> Self:
        self._over = asyncio.get_running_loop().create_future()
        self._holding = asyncio.create_task(self._hold())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over.set_result(None)
        await asyncio.shield(self._settle())

    async def _hold(self) -> None:
        # An answer may stream for longer than any claim could be made for.
        while not (await asyncio.wait([self._over], timeout=self._seconds / 2))[0]:
            with suppress(StoreError):
                until = await self._store.renew(*self._place, self._until, self._seconds)
                if until is None:
                    return
                self._until = until

    async def _settle(self) -> None:
        await self._holding  # what it writes last is what tells whose the claim is
        try:
            # Also after a failure: the next one must not wait for a call that nobody makes.
            if self._kept is None:
                await self._store.release(*self._place, self._until)
            else:
                await self._store.complete(*self._place, self._until, self._kept)
        except StoreError as error:
            # The call was made, and whoever waits for its answer can still have it.
            logger.error("the result of an idempotent call was not kept: %s", error)  # noqa: TRY400  # one line


async def claimed(store: Store, token_id: str, key: str, call: bytes, timeout: float) -> Claim:
    """The claim to the call with this key, waiting for one that is under way. `call` is what must be the same in a
    repeat. Conflict where it is not, or where the first does not end."""
    digest = hashlib.sha256(call).digest()
    seconds = timeout + _GRACE
    patience = time.monotonic() + seconds
    while True:
        asking = asyncio.ensure_future(store.claim(token_id, key, digest, seconds))
        try:
            found = await asyncio.shield(asking)
        except asyncio.CancelledError:
            # The store goes on: what it gives to a caller who has left must be given back.
            if isinstance(until := await asking, float):
                await store.release(token_id, key, until)
            raise
        if found == "other":
            raise Conflict(422, "this Idempotency-Key was used with another request")
        if found != "taken":
            return Claim(store, token_id, key, found, seconds)
        if time.monotonic() > patience:
            raise Conflict(409, "the first request with this Idempotency-Key is still under way")
        await asyncio.sleep(_POLL)
