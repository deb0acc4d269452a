"""The rows of a PostgreSQL store."""

from __future__ import annotations

from collections.abc import Sequence

from ..rows import Place, Sealed, TokenRow
from .connections import Connection


class PostgresRows:
    """The Rows of a connection, in a transaction of whoever opened it."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection

    async def find(self, place: Place) -> Sealed | None:
        query = "SELECT key, sealed FROM oo.records WHERE kind = $1 AND name = $2 AND version = $3"
        row = await self._db.fetchrow(query, *place)
        return None if row is None else (row[0], row[1])

    async def every(self, kind: str) -> list[tuple[Place, Sealed]]:
        query = "SELECT name, version, key, sealed FROM oo.records WHERE kind = $1 ORDER BY name, version"
        return [((kind, row[0], row[1]), (row[2], row[3])) for row in await self._db.fetch(query, kind)]

    async def places(self, kind: str, name: str | None = None) -> list[Place]:
        query = (
            "SELECT kind, name, version FROM oo.records WHERE kind = $1 AND ($2::text IS NULL OR name = $2)"
            " ORDER BY name, version"
        )
        return [(row[0], row[1], row[2]) for row in await self._db.fetch(query, kind, name)]

    async def latest(self, kind: str, name: str) -> int | None:
        query = "SELECT max(version) FROM oo.records WHERE kind = $1 AND name = $2"
        latest: int | None = await self._db.fetchval(query, kind, name)
        return latest

    async def put(self, place: Place, sealed: Sealed) -> None:
        query = (
            "INSERT INTO oo.records VALUES ($1, $2, $3, $4, $5)"
            " ON CONFLICT (kind, name, version) DO UPDATE SET key = excluded.key, sealed = excluded.sealed"
        )
        await self._db.execute(query, *place, *sealed)

    async def delete(self, kind: str, name: str) -> bool:
        query = "DELETE FROM oo.records WHERE kind = $1 AND name = $2"
        return str(await self._db.execute(query, kind, name)) != "DELETE 0"

    async def meta(self, name: str) -> str | None:
        value: str | None = await self._db.fetchval("SELECT value FROM oo.meta WHERE name = $1", name)
        return value

    async def set_meta(self, name: str, value: str) -> None:
        query = "INSERT INTO oo.meta VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
        await self._db.execute(query, name, value)

    async def key_ids(self) -> set[str]:
        return {row[0] for row in await self._db.fetch("SELECT DISTINCT key FROM oo.records WHERE kind <> 'key'")}

    async def sealed_otherwise(self, keys: Sequence[str], most: int) -> list[Place]:
        query = "SELECT kind, name, version FROM oo.records WHERE kind <> 'key' AND key <> ALL ($1::text[]) LIMIT $2"
        return [(row[0], row[1], row[2]) for row in await self._db.fetch(query, keys, most)]

    async def token(self, hashed: bytes) -> TokenRow | None:
        query = "SELECT hash, id, used, revision FROM oo.tokens JOIN oo.uses USING (hash) WHERE hash = $1"
        row = await self._db.fetchrow(query, hashed)
        return None if row is None else TokenRow(*row)

    async def tokens(self) -> list[TokenRow]:
        query = "SELECT hash, id, used, revision FROM oo.tokens JOIN oo.uses USING (hash) ORDER BY hash"
        return [TokenRow(*row) for row in await self._db.fetch(query)]

    async def add_token(self, hashed: bytes, token_id: str) -> None:
        await self._db.execute("INSERT INTO oo.tokens VALUES ($1, $2)", hashed, token_id)
        await self._db.execute("INSERT INTO oo.uses (hash) VALUES ($1)", hashed)

    async def revise_token(self, token_id: str) -> None:
        query = "UPDATE oo.uses u SET revision = u.revision + 1 FROM oo.tokens t WHERE u.hash = t.hash AND t.id = $1"
        await self._db.execute(query, token_id)

    async def remove_token(self, token_id: str) -> None:
        await self._db.execute("DELETE FROM oo.tokens WHERE id = $1", token_id)


class CollectedRows(PostgresRows):
    """Rows whose `puts` are not written, for whoever has them written as one."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self.puts: dict[str, Sealed] = {}
        """What was put, by the kind of its record."""

    async def put(self, place: Place, sealed: Sealed) -> None:
        self.puts[place[0]] = sealed
