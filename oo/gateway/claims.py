"""The claim of a call: the right to make it, which one caller holds at a time.

It is renewed while the call lasts, and expires if its process dies.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import suppress
from typing import Any

from .errors import StoreError
from .models import Denial, StoredResponse
from .store.base import Store

logger = logging.getLogger("oo.gateway")
_PAUSE, _LONGEST = 0.01, 0.25  # seconds between two looks at a call that another process makes


class Claims:
    """The claims that this process holds."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._held: dict[tuple[str, str], Claim] = {}

    async def take(self, token: str, token_id: str, key: str, seconds: float) -> Claim | Denial | None:
        """Claim a call, and pay for it; None if it is known already."""
        if self.holds(token_id, key):  # whatever became of its claim, by the clock of the store, say
            return None
        asked = time.monotonic()
        found = await self._store.claim(token, key, seconds)
        if found == "taken":
            return None
        if isinstance(found, Denial):
            return found
        call = (token_id, key)
        self._held[call] = claim = Claim(self._store, call, found, seconds, asked, self._left)
        return claim

    def _left(self, claim: Claim) -> None:
        if self._held.get(claim.call) is claim:
            del self._held[claim.call]

    def holds(self, token_id: str, key: str) -> bool:
        """Whether this process makes that call, or has made it and not noted it yet."""
        return (token_id, key) in self._held

    def is_other(self, token_id: str, key: str, digest: bytes) -> bool:
        """Whether this process makes another request with that key."""
        claim = self._held.get((token_id, key))
        return claim is not None and claim.digest not in (b"", digest)

    async def wait(self, token_id: str, key: str, pauses: Iterator[float], seconds: float) -> None:
        """Wait for the end of a call, `seconds` at most. One that another process makes is waited for by a pause."""
        claim = self._held.get((token_id, key))
        if claim is None:
            await asyncio.sleep(min(next(pauses), seconds))
        else:
            await asyncio.wait([claim.ended], timeout=seconds)


class Claim:
    """A claim that is held until `complete` or `release`. `asked` is when it was asked for, by the monotonic clock."""

    def __init__(
        self,
        store: Store,
        call: tuple[str, str],
        fence: bytes,
        seconds: float,
        asked: float,
        left: Callable[[Claim], None] = lambda _: None,
    ) -> None:
        """`left` is told of its end."""
        self.digest = b""
        """What the request is, once it is known."""
        loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[None] = loop.create_future()
        self._store = store
        self.call = call
        self._left = left
        self._fence = fence
        self._seconds = seconds
        self._lapses = asked + seconds
        self._renewing: asyncio.Task[None] | None = None
        self._noting: asyncio.Task[None] | None = None
        self._timer = loop.call_later(seconds / 2, self._renew)

    async def bind(self, digest: bytes) -> bool:
        """Note what the request is, to compare with repeats; False if the claim has lapsed and is somebody else's."""
        self.digest = digest
        # Nobody takes over what has not lapsed.
        return time.monotonic() < self._lapses - self._seconds / 4 or await self._extend()

    async def complete(self, response: StoredResponse | None) -> None:
        """Note that the call was made, and store the response for repeats; None for one that is not to be stored.
        Whoever is cancelled meanwhile leaves it done."""
        flows = response is not None and not isinstance(response.body, bytes)
        await self._shielded(self._end(made=True, response=response), flows=flows)

    async def release(self) -> None:
        """Free the key. Whoever is cancelled meanwhile leaves it done."""
        await self._shielded(self._end(made=False))

    def _shielded(self, ending: Coroutine[Any, Any, None], *, flows: bool = False) -> Awaitable[None]:
        # The store does what it was asked for whoever was cancelled; what comes before that is another's to shield.
        return asyncio.shield(ending) if flows or self._renewing is not None else ending

    async def _extend(self) -> bool:
        asked = time.monotonic()
        held = await self._store.renew(*self.call, self._fence, self._seconds)
        if held:
            self._lapses = max(self._lapses, asked + self._seconds)
        return held

    def _renew(self) -> None:
        self._renewing = asyncio.create_task(self._renewed())

    async def _renewed(self) -> None:
        held = True
        with suppress(StoreError):  # the next time may go better
            held = await self._extend()
        if held and not self.ended.done():
            # An answer may stream for longer than any claim lasts.
            self._timer = asyncio.get_running_loop().call_later(self._seconds / 2, self._renew)

    async def _end(self, *, made: bool, response: StoredResponse | None = None) -> None:
        self._timer.cancel()
        if self._renewing is not None:
            await asyncio.wait([self._renewing])  # which would begin another
            self._timer.cancel()
        try:
            # After a failure too: the next request must not wait for a call that nobody makes.
            if made:
                await self._store.complete(*self.call, self._fence, self.digest, response)
            else:
                await self._store.release(*self.call, self._fence)
        except StoreError as error:
            # The call was made, and whoever waits for its answer can still get it.
            logger.error("the result of an idempotent call was not kept: %s", error)  # noqa: TRY400  # one line
            if made:
                self._noting = asyncio.create_task(self._note())
        finally:
            if self._noting is None:
                self._over()

    async def _note(self) -> None:
        """Note that the call was made once the store can, without its answer. Until then it is held, lest a repeat make
        it again."""
        for pause in pauses():
            await asyncio.sleep(pause)
            with suppress(StoreError):
                await self._store.complete(*self.call, self._fence, self.digest, None)
                break
        self._over()

    def _over(self) -> None:
        self._left(self)
        if not self.ended.done():
            self.ended.set_result(None)


def pauses() -> Iterator[float]:
    """Growing pauses in seconds, each drawn anew so that those who wait for the same do not ask at once."""
    longest = _PAUSE
    while True:
        yield longest * random.uniform(0.5, 1)  # noqa: S311  # no secret
        longest = min(longest * 2, _LONGEST)
