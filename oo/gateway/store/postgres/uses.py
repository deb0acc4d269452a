"""Uses and rates: counted once for all replicas, each batch in one statement, its rows locked in the order of hashes.

A statement compares the revision of the token's terms that the use was judged by, so none is counted on a token which
was revoked before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Literal

from ...models import Denial, Token
from ...spending import ROUNDING, Counted
from ..batches import Batches
from .connections import Connection, Connections

Outcome = Denial | Literal["stale"] | None
"""None for what was counted; "stale" where the token's terms are not those that it was judged by."""

_CONSUME = """
WITH asked AS (
    SELECT * FROM unnest($1::bytea[], $2::bigint[], $3::bigint[], $4::bigint[]) AS a (hash, revision, most, wanted)
), locked AS MATERIALIZED (
    SELECT u.hash, u.revision, u.used FROM oo.uses u JOIN asked a ON u.hash = a.hash
    ORDER BY u.hash FOR NO KEY UPDATE OF u
), counted AS (
    UPDATE oo.uses u SET used = u.used + least(a.wanted, a.most - u.used)
    FROM locked l JOIN asked a ON l.hash = a.hash
    WHERE u.hash = l.hash AND l.revision = a.revision AND l.used < a.most
    RETURNING u.hash, u.used - l.used AS granted
)
SELECT a.hash, coalesce(l.revision = a.revision, false), coalesce(c.granted, 0)
FROM asked a LEFT JOIN locked l ON l.hash = a.hash LEFT JOIN counted c ON c.hash = a.hash
"""

# The formula of `spending.charge`, for several calls in a row.
_CHARGE = """
WITH asked AS (
    SELECT * FROM unnest($1::bytea[], $2::bigint[], $3::float8[], $4::float8[], $5::bigint[], $6::bool[])
    AS a (hash, revision, step, period, wanted, counts)
), locked AS MATERIALIZED (
    SELECT u.hash, u.revision, u.tat FROM oo.uses u JOIN asked a ON u.hash = a.hash
    ORDER BY u.hash FOR NO KEY UPDATE OF u
), clock AS MATERIALIZED (
    SELECT count(*), extract(epoch FROM clock_timestamp())::float8 AS now FROM locked
), based AS (
    SELECT a.*, l.revision = a.revision AS same, c.now, least(greatest(l.tat, c.now), c.now + a.period) AS base
    FROM asked a JOIN locked l ON l.hash = a.hash CROSS JOIN clock c
), judged AS (
    SELECT *, greatest(least(wanted, floor((now + period + $7 - base) / step)::bigint), 0) AS granted FROM based
), charged AS (
    UPDATE oo.uses u SET tat = j.base + j.granted * j.step, used = u.used + CASE WHEN j.counts THEN j.granted ELSE 0 END
    FROM judged j WHERE u.hash = j.hash AND j.same AND j.granted > 0
)
SELECT hash, same, granted, base + (granted + 1) * step - period - now FROM judged
"""
_COUNTED = "SELECT hash, used, tat FROM oo.uses WHERE hash = ANY($1)"


class Uses:
    """Counts what tokens cost. StoreUnavailable where the engine does not answer: a use may then be lost."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._consuming: Batches[Token, Outcome] = Batches(self._consume)
        self._charging: Batches[Token, Outcome] = Batches(self._charge)
        self._counting: Batches[Token, Counted | None] = Batches(self._count)

    async def consume(self, token: Token) -> Outcome:
        """Count one use of a token that has a limit of them."""
        return await self._consuming.ask(token)

    async def charge(self, token: Token) -> Outcome:
        """Charge one call to the rate of a token that has one."""
        return await self._charging.ask(token)

    def counted(self, token: Token) -> asyncio.Future[Counted | None]:
        """What was counted, which is asked at once; None where the token is gone."""
        return self._counting.asked(token)

    async def close(self) -> None:
        """Wait for what was begun."""
        for batches in (self._consuming, self._charging, self._counting):
            await batches.close()

    async def _consume(self, tokens: Sequence[Token]) -> list[Outcome]:
        asked = _by_hash(tokens)
        first = [each[0] for each in asked.values()]
        arrays = (list(asked), [t.revision for t in first], [t.uses for t in first], [len(t) for t in asked.values()])
        rows = await self._connections.run(lambda db: db.fetch(_CONSUME, *arrays))
        found = {row[0]: _Left(row[1], row[2]) for row in rows}
        return [found[bytes.fromhex(t.hash)].next(t, t.denied("used up")) for t in tokens]

    async def _charge(self, tokens: Sequence[Token]) -> list[Outcome]:
        asked = _by_hash(tokens)
        first = [(each[0], each[0].rate) for each in asked.values()]
        rates = [rate for _, rate in first if rate is not None]
        arrays = (
            list(asked),
            [token.revision for token, _ in first],
            [rate.seconds / rate.count for rate in rates],
            [rate.seconds for rate in rates],
            [len(each) for each in asked.values()],
            [token.uses is None for token, _ in first],  # a limit of uses counts by itself
        )
        rows = await self._connections.run(lambda db: db.fetch(_CHARGE, *arrays, ROUNDING))
        found = {row[0]: _Left(row[1], row[2], row[3]) for row in rows}
        gone = _Left(False, 0)
        return [
            left.next(t, t.denied("rate", left.wait))
            for t in tokens
            for left in (found.get(bytes.fromhex(t.hash), gone),)
        ]

    async def _count(self, tokens: Sequence[Token]) -> list[Counted | None]:
        async def look(connection: Connection) -> dict[bytes, Counted]:
            rows = await connection.fetch(_COUNTED, list({bytes.fromhex(token.hash) for token in tokens}))
            return {row[0]: Counted(row[1], row[2]) for row in rows}

        found = await self._connections.run(look, writes=False)
        return [found.get(bytes.fromhex(token.hash)) for token in tokens]


class _Left:
    """What a statement granted of a token, given to those who asked in turn."""

    def __init__(self, same: bool, granted: int, wait: float = 0.0) -> None:
        self._same = same
        self._granted = granted
        self._revision: int | None = None
        self.wait = wait

    def next(self, token: Token, denial: Denial) -> Outcome:
        if self._revision is None:
            self._revision = token.revision  # of the first, which the statement compared
        if not self._same or token.revision != self._revision:
            return "stale"
        self._granted -= 1
        return None if self._granted >= 0 else denial


def _by_hash(tokens: Sequence[Token]) -> dict[bytes, list[Token]]:
    """The tokens by hash, in order. Of a token whose terms have changed meanwhile, those of the first alone."""
    found: dict[bytes, list[Token]] = {}
    for token in sorted(tokens, key=lambda token: token.hash):
        same = found.setdefault(bytes.fromhex(token.hash), [])
        if not same or same[0].revision == token.revision:
            same.append(token)
    return found
