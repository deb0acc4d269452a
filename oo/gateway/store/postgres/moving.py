"""A PostgreSQL store as what is moved, and as where something is moved to."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence

from ...errors import StoreError
from ..moving import CAME, MOVED, Counter, Made, Meta, Record, Row
from . import schema
from .connections import Connection, Connections, connected
from .place import Place

_BATCH = 256  # rows that are sent at once
_LONG = 600.0  # seconds that a move may take
_RECORDS = "SELECT kind, name, version, key, sealed FROM oo.records ORDER BY kind <> 'key'"  # what opens the rest first
_MADE = """
SELECT token, call, fence, digest, extract(epoch FROM at)::float8, extract(epoch FROM until)::float8, done, day, size
FROM oo.claims
"""
_PIECES = "SELECT sealed FROM oo.pieces WHERE token = $1 AND call = $2 AND fence = $3 ORDER BY number"
_PUT = {
    Meta: "INSERT INTO oo.meta VALUES ($1, $2)",
    Record: "INSERT INTO oo.records VALUES ($1, $2, $3, $4, $5)",
    Counter: """
        WITH token AS (INSERT INTO oo.tokens VALUES ($1, $2) RETURNING hash)
        INSERT INTO oo.uses (hash, used, tat) SELECT $1, $3, $4 FROM token
    """,
    Made: """
        INSERT INTO oo.claims (token, call, fence, digest, at, until, done, day, size, pieces)
        VALUES ($1, $2, $3, $4, to_timestamp($5), to_timestamp($6), $7, $8, $9, $10)
    """,
}
_PIECE = "INSERT INTO oo.pieces VALUES ($1, $2, $3, $4, $5)"


class PostgresSource:
    """A database that is moved or copied."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._connections = Connections(place)

    async def moved(self) -> str | None:
        query = "SELECT value FROM oo.meta WHERE name = $1"
        moved: str | None = await self._connections.run(lambda db: db.fetchval(query, MOVED), writes=False)
        return moved

    async def freeze(self, move: str) -> None:
        await self._mark("INSERT INTO oo.meta VALUES ('moved', $1)", move)

    async def thaw(self) -> None:
        await self._mark("DELETE FROM oo.meta WHERE name = 'moved'")

    async def rows(self) -> AsyncGenerator[Row, None]:
        async with (
            connected(self._place) as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            for row in await connection.fetch("SELECT name, value FROM oo.meta WHERE name <> 'schema'"):
                yield Meta(*row)
            for row in await connection.fetch(_RECORDS):
                yield Record(*row)
            for row in await connection.fetch("SELECT hash, id, used, tat FROM oo.tokens JOIN oo.uses USING (hash)"):
                yield Counter(*row)
            for row in await connection.fetch(f"{_MADE} ORDER BY token, at"):
                pieces = await connection.fetch(_PIECES, *row[:3]) if row[6] else ()
                yield Made._make((*row, tuple(piece[0] for piece in pieces)))

    async def close(self) -> None:
        await self._connections.close()

    async def _mark(self, statement: str, *values: str) -> None:
        async def mark(connection: Connection) -> None:
            async with connection.transaction():
                await connection.execute("UPDATE oo.epoch SET version = version + 1")
                await connection.execute(statement, *values)
                # No use or claim is counted by what was judged before.
                await connection.execute("UPDATE oo.uses SET revision = revision + 1")

        await self._connections.run(mark)


class PostgresTarget:
    """A database without a store, in which one is made."""

    def __init__(self, place: Place) -> None:
        self._place = place

    async def came(self) -> str | None:
        async with connected(self._place) as connection:
            if not await schema.exists(connection):
                return None
            came: str | None = await connection.fetchval("SELECT value FROM oo.meta WHERE name = $1", CAME)
            return came or ""

    async def fill(self, rows: AsyncIterator[Row]) -> int:
        if await self.came() is not None:
            raise StoreError(f"there is a store at {self._place} already")
        connections = Connections(self._place)
        try:
            return await connections.run(lambda db: self._fill(db, rows), within=_LONG)
        finally:
            await connections.close()

    async def close(self) -> None:
        """Do nothing: it is connected to only while it is filled."""

    async def _fill(self, connection: Connection, rows: AsyncIterator[Row]) -> int:
        count = 0
        async with connection.transaction():
            await schema.make_tables(connection)
            batch: list[Row] = []
            async for row in rows:
                if batch and (type(batch[0]) is not type(row) or len(batch) == _BATCH):
                    await _put(connection, batch)
                    batch = []
                batch.append(row)
                count += 1
            await _put(connection, batch)
        return count


async def _put(connection: Connection, batch: Sequence[Row]) -> None:
    if not batch:
        return
    values = [(*row[:-1], len(row.pieces)) if isinstance(row, Made) else tuple(row) for row in batch]
    await connection.executemany(_PUT[type(batch[0])], values)
    pieces = [
        (row.token, row.call, row.fence, number, piece)
        for row in batch
        if isinstance(row, Made)
        for number, piece in enumerate(row.pieces)
    ]
    if pieces:
        await connection.executemany(_PIECE, pieces)
