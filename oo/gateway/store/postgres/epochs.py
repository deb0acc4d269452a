"""Strict freshness: which epoch the store is in, asked anew for whoever waits.

An owner's change raises the epoch in its own transaction. A request waits for a look that began after the request came,
and shares it with all that wait; a look that began less than a millisecond ago is as good. What else the request reads
may be as of the same look, for 50 ms, however long the engine takes to answer.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

from ...errors import StoreUnavailable
from ..base import came
from ..batches import Batches
from ..moving import unavailable
from .connections import Connection, Connections

_FRESH = 0.001  # seconds
_OF_REQUEST = 0.05  # seconds: a request may leave work running, as the watch over open calls, which must look anew
_WITHIN = 1.0  # seconds until a look that is not answered fails
_LOOK = "SELECT version, pg_is_in_recovery(), extract(epoch FROM clock_timestamp())::float8, "
_LOOK += "(SELECT value FROM oo.meta WHERE name = 'moved') FROM oo.epoch"


class Epoch(NamedTuple):
    """What a look gave. `began` is by the monotonic clock; `clock`, what to add to that for the engine's time."""

    version: int
    began: float
    clock: float


class Epochs:
    """Looks which epoch the store is in. StoreUnavailable where it does not say."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._looks: Batches[None, Epoch] = Batches(self._look, most=1 << 30)
        self._last = Epoch(0, float("-inf"), 0.0)
        self._changed = float("-inf")

    async def current(self) -> Epoch:
        """The epoch, by a look that began less than a millisecond before, or after, this was called or the request came
        that this is for."""
        now = time.monotonic()
        since = min(now - _FRESH, max(came.get(), now - _OF_REQUEST))
        if self._last.began >= max(since, self._changed):
            return self._last
        return await self._looks.ask(None)

    def now(self) -> float:
        """The engine's time, in seconds since 1970."""
        return time.monotonic() + self._last.clock

    def expire(self) -> None:
        """Take no look that began before this moment."""
        self._changed = time.monotonic()

    async def close(self) -> None:
        """Wait for what was asked."""
        await self._looks.close()

    async def _look(self, waiting: Sequence[None]) -> list[Epoch]:
        async def look(connection: Connection) -> Epoch:
            began = time.monotonic()
            row = await connection.fetchrow(_LOOK)
            if row is None or row[1]:
                self._connections.drop()
                connection.terminate()
                raise StoreUnavailable("the store has become a standby" if row else "the store says no epoch")
            if row[3] is not None:
                raise unavailable(row[3])
            return Epoch(row[0], began, row[2] - time.monotonic())

        self._last = await self._connections.run(look, writes=False, within=_WITHIN)
        return [self._last] * len(waiting)
