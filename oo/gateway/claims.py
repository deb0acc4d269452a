"""The claim of a call: the right to make it, which one caller holds at a time.

It is renewed while the call lasts, and expires if its process dies.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

from .errors import StoreError
from .models import Denial, StoredResponse
from .store.base import Store

logger = logging.getLogger("oo.gateway")


class Claim:
    """A claim that is held until `end`."""

    def __init__(self, store: Store, token_id: str, key: str, until: float, seconds: float) -> None:
        self._store = store
        self._call = (token_id, key)
        self._until = until
        self._seconds = seconds
        self._lock = asyncio.Lock()  # its expiry identifies it, so two changes must not cross
        self._over = asyncio.get_running_loop().create_future()
        self._renewing = asyncio.create_task(self._renew())

    async def bind(self, digest: bytes) -> bool:
        """Write what the call was, to compare with repeats; False if somebody else makes it meanwhile."""
        async with self._lock:
            return await self._store.bind(*self._call, self._until, digest)

    async def end(self, response: StoredResponse | None) -> None:
        """Store the response for repeats, or free the key. Whoever is cancelled meanwhile leaves it done."""
        await asyncio.shield(self._end(response))

    async def _renew(self) -> None:
        # An answer may stream for longer than any claim lasts.
        while not (await asyncio.wait([self._over], timeout=self._seconds / 2))[0]:
            with suppress(StoreError):
                async with self._lock:
                    until = await self._store.renew(*self._call, self._until, self._seconds)
                    if until is None:
                        return
                    self._until = until

    async def _end(self, response: StoredResponse | None) -> None:
        if not self._over.done():
            self._over.set_result(None)
        # Wait for the renewal task: its last expiry identifies our claim.
        await self._renewing
        try:
            # After a failure too: the next request must not wait for a call that nobody makes.
            if response is None:
                await self._store.release(*self._call, self._until)
            else:
                await self._store.complete(*self._call, self._until, response)
        except StoreError as error:
            # The call was made, and whoever waits for its answer can still get it.
            logger.error("the result of an idempotent call was not kept: %s", error)  # noqa: TRY400  # one line


async def claimed(store: Store, token: str, token_id: str, key: str, seconds: float) -> Claim | Denial | None:
    """Claim a call, and pay for it; None if it is known already."""
    asking = asyncio.ensure_future(store.claim(token, key, seconds))
    try:
        found = await asyncio.shield(asking)
    except asyncio.CancelledError:
        # The store completes the claim for a caller who has disconnected, so release it.
        if isinstance(until := await asking, float):
            await store.release(token_id, key, until)
        raise
    if found == "taken":
        return None
    return found if isinstance(found, Denial) else Claim(store, token_id, key, found, seconds)
