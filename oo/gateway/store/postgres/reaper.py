"""What is too old or too much is deleted, a little at a time, by whichever replica comes first."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress

from ... import kept
from ...errors import StoreError
from .connections import Connection, Connections

_PAUSE = 10.0  # seconds between two rounds of a replica
_STEP = 1000  # rows that one statement deletes
_GONE = 60.0  # seconds after which a replica is not one any more

# Rows that another replica is deleting are left to it.
_DELETE = """
DELETE FROM oo.claims c USING (
    SELECT token, call FROM oo.claims WHERE {which} ORDER BY at LIMIT {step} FOR UPDATE SKIP LOCKED
) old WHERE c.token = old.token AND c.call = old.call
"""
_FREE = "(done OR until < clock_timestamp())"
_OLD = _DELETE.format(which=f"at < clock_timestamp() - make_interval(secs => $1) AND {_FREE}", step=_STEP)
_BEYOND = """
DELETE FROM oo.claims WHERE (token, call) IN (
    SELECT token, call FROM (
        SELECT token, call, row_number() OVER (PARTITION BY token ORDER BY at DESC) AS number
        FROM oo.claims WHERE {free}
    ) numbered WHERE number > $1 LIMIT {step}
)
"""
# An answer is dropped with its bytes; that its call was made stays known.
_LARGE = """
WITH summed AS (
    SELECT token, call, sum(size) OVER (PARTITION BY token ORDER BY at DESC, call) AS of_token,
           sum(size) OVER (ORDER BY at DESC, token, call) AS of_all
    FROM oo.claims WHERE size > 0
), over AS (
    UPDATE oo.claims c SET size = 0, pieces = 0 FROM summed s
    WHERE c.token = s.token AND c.call = s.call AND (s.of_token > $1 OR s.of_all > $2) RETURNING c.token, c.call
)
DELETE FROM oo.pieces p USING over WHERE p.token = over.token AND p.call = over.call
"""
_REPLICAS = "DELETE FROM oo.replicas WHERE at < clock_timestamp() - make_interval(secs => $1)"


class Reaper:
    """Deletes what is too old or too much, now and then, once it was begun."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Go on until `close`."""
        if self._task is None:
            self._task = asyncio.create_task(self._ever())

    async def close(self) -> None:
        """Delete nothing more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def reap(self) -> None:
        """One round."""

        async def reap(connection: Connection) -> None:
            while await connection.execute(_OLD, kept.KEPT) == f"DELETE {_STEP}":
                pass
            await connection.execute(_BEYOND.format(free=_FREE, step=_STEP), kept.MAX_CALLS)
            await connection.execute(_LARGE, kept.MAX_OF_TOKEN, kept.MAX_OF_ALL)
            await connection.execute(_REPLICAS, _GONE)

        await self._connections.run(reap, within=60.0)

    async def _ever(self) -> None:
        while True:
            await asyncio.sleep(_PAUSE * random.uniform(0.5, 1.5))  # noqa: S311  # no secret
            with suppress(StoreError):
                await self.reap()
