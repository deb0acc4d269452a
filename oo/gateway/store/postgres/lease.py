"""The lease of a replica: the right to answer callers, which it renews by a write.

An engine that was cut off from the others confirms no write, so whoever asks it alone stops within a second. Each
renewal says which epoch the replica has seen, so an owner's change can be acknowledged by all of them.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from contextlib import suppress

from ...errors import StoreError, StoreMoved, StoreUnavailable
from ...throttled_log import ThrottledLog
from .connections import Connection, Connections
from .epochs import Epochs

RENEWED = 0.25  # seconds between two renewals
LASTS = 1.0  # seconds that a replica answers after a renewal began that was confirmed
_AGAIN = 0.05  # seconds after one that failed, or that came upon a new epoch
_POLL = 0.02  # seconds between two looks at what the others have seen
_DRIFT = 0.05  # seconds that clocks may run apart in a lease

_RENEW = """
INSERT INTO oo.replicas (id, epoch, at) VALUES ($1, $2, clock_timestamp())
ON CONFLICT (id) DO UPDATE SET epoch = excluded.epoch, at = clock_timestamp()
RETURNING (SELECT version FROM oo.epoch)
"""
_LEAVE = "DELETE FROM oo.replicas WHERE id = $1"
_BEHIND = """
SELECT EXISTS (SELECT 1 FROM oo.replicas
               WHERE epoch < $1 AND id <> $2 AND at > clock_timestamp() - make_interval(secs => $3))
"""


class Lease:
    """The lease of this process. It begins when it is first asked for. `lost` is called where it is not renewed."""

    def __init__(self, connections: Connections, epochs: Epochs, lost: Callable[[], object] = lambda: None) -> None:
        self._lost = lost
        self._connections = connections
        self._epochs = epochs
        self._id = secrets.token_hex(8)
        self._until = float("-inf")
        self._renewing: asyncio.Task[None] | None = None
        self._begun = asyncio.Event()
        self._errors = ThrottledLog()
        self._moved = ""

    async def check(self) -> None:
        """Return if this process may answer callers; StoreUnavailable if no write of it was confirmed for a second,
        StoreMoved if the store says so."""
        if time.monotonic() <= self._until:
            return
        if self._renewing is None:
            self._renewing = asyncio.create_task(self._renew_ever())
        if not self._begun.is_set():
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._begun.wait(), LASTS)
        if time.monotonic() > self._until:
            if self._moved:
                raise StoreMoved(self._moved)
            raise StoreUnavailable("the store has confirmed no write of this replica for a second")

    async def acknowledged(self, version: int) -> None:
        """Wait until every other replica has seen an epoch, or may answer nobody."""

        async def look(connection: Connection) -> bool:
            return bool(await connection.fetchval(_BEHIND, version, self._id, LASTS + _DRIFT))

        while await self._connections.run(look, writes=False):  # noqa: ASYNC110  # others are waited for
            await asyncio.sleep(_POLL)

    async def close(self) -> None:
        """Give the lease back, so that nobody waits for this replica."""
        if self._renewing is None:
            return
        self._renewing.cancel()
        await asyncio.wait([self._renewing])
        self._until = float("-inf")
        with suppress(StoreError):
            await self._connections.run(lambda connection: connection.execute(_LEAVE, self._id), within=LASTS)

    async def _renew_ever(self) -> None:
        while True:
            pause = _AGAIN
            try:
                pause = await self._renew()
            except StoreError as error:
                # A store that has moved answers all the same, and whoever asks it is told and logs it.
                self._moved = str(error) if isinstance(error, StoreMoved) else ""
                if not self._moved:
                    self._lost()
                    self._errors.say(f"the lease of this replica is not renewed: {error}")
            self._begun.set()
            await asyncio.sleep(pause)

    async def _renew(self) -> float:
        began = time.monotonic()
        seen = (await self._epochs.current()).version

        async def renew(connection: Connection) -> int:
            return int(await connection.fetchval(_RENEW, self._id, seen))

        current = await self._connections.run(renew, within=LASTS)
        self._until = began + LASTS
        if current != seen:
            return 0.0
        return max(RENEWED - (time.monotonic() - began), 0.0)
