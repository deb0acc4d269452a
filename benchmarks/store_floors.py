"""The least that an engine can do for what a store promises: one statement for all who ask at once, and a disk that has
it before they are told."""

from __future__ import annotations

import fcntl
import os
import secrets
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from typing import Protocol

import asyncpg

AT_ONCE = 16
"""Who ask at once, in each process."""
TABLES = """
CREATE TABLE uses (token bigint PRIMARY KEY, used bigint NOT NULL, most bigint NOT NULL);
CREATE TABLE claims (call bytea PRIMARY KEY, answer bytea);
INSERT INTO uses VALUES (1, 0, 1000000000);
"""
COUNT = f"UPDATE uses SET used = used + {AT_ONCE} WHERE token = 1 AND used + {AT_ONCE} <= most"
ANSWER = bytes(500)
MOVED = """
CREATE TABLE records (
    kind text, name text, version int, key text, sealed bytea, PRIMARY KEY (kind, name, version)
);
CREATE TABLE tokens (hash bytea PRIMARY KEY, id text UNIQUE, used bigint, tat float8);
"""


class Floor(Protocol):
    """Counts as many uses as are asked for at once, and claims as many calls and keeps their answers."""

    async def uses(self) -> None: ...
    async def claims(self) -> None: ...


class SQLite:
    """One connection, whose log is synced after each commit; a lock says whose turn it is."""

    def __init__(self, home: str) -> None:
        self._db = sqlite3.connect(_file(home), isolation_level=None)
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.execute("SELECT * FROM uses")  # from which on there is a log
        self._log = os.open(f"{_file(home)}-wal", os.O_RDWR)
        self._turn = os.open(f"{_file(home)}-turn", os.O_RDWR | os.O_CREAT)

    async def uses(self) -> None:
        with self._on_disk():
            self._db.execute(COUNT)

    async def claims(self) -> None:
        calls = _calls()
        with self._on_disk():
            self._db.execute(COUNT)
            self._db.executemany("INSERT INTO claims (call) VALUES (?)", [(call,) for call in calls])
        with self._on_disk():
            self._db.executemany("UPDATE claims SET answer = ? WHERE call = ?", [(ANSWER, call) for call in calls])

    def close(self) -> None:
        self._db.close()
        os.close(self._log)
        os.close(self._turn)

    @contextmanager
    def _on_disk(self) -> Iterator[None]:
        fcntl.flock(self._turn, fcntl.LOCK_EX)
        self._db.execute("BEGIN IMMEDIATE")
        yield
        self._db.execute("COMMIT")
        fcntl.flock(self._turn, fcntl.LOCK_UN)
        os.fdatasync(self._log)


class Postgres:
    """One connection, whose statements are prepared; the engine has each on the disk before it answers."""

    def __init__(self, connection: asyncpg.Connection[asyncpg.Record]) -> None:
        self._connection = connection

    async def prepare(self) -> None:
        self._count = await self._connection.prepare(COUNT)
        self._claim = await self._connection.prepare(
            f"WITH counted AS ({COUNT}) INSERT INTO claims SELECT unnest($1::bytea[])"
        )
        self._keep = await self._connection.prepare("UPDATE claims SET answer = $2 WHERE call = ANY($1::bytea[])")

    async def uses(self) -> None:
        await self._count.fetch()

    async def claims(self) -> None:
        calls = _calls()
        await self._claim.fetch(calls)
        await self._keep.fetch(calls, ANSWER)


def _file(home: str) -> str:
    return os.path.join(home, "floor.db")


def _calls() -> list[bytes]:
    return [secrets.token_bytes(8) for _ in range(AT_ONCE)]


async def make(place: str) -> None:
    """Make the tables of a floor beside a store."""
    if "://" in place:
        async with _connected(place) as connection:
            await connection.execute(TABLES)
    else:
        with closing(sqlite3.connect(_file(place))) as db:
            db.execute("PRAGMA journal_mode = WAL")
            db.executescript(TABLES)


@asynccontextmanager
async def opened(place: str) -> AsyncIterator[Floor]:
    """The floor beside a store."""
    if "://" in place:
        async with _connected(place) as connection:
            floor = Postgres(connection)
            await floor.prepare()
            yield floor
    else:
        with closing(SQLite(place)) as sqlite:
            yield sqlite


async def move(home: str, url: str) -> int:
    """Copy a vault's records and tokens to PostgreSQL, in one transaction; the number of rows."""
    with closing(sqlite3.connect(os.path.join(home, "vault.db"))) as db:
        tables = {name: db.execute(f"SELECT * FROM {name}").fetchall() for name in ("records", "tokens")}
    async with _connected(url) as connection, connection.transaction():
        await connection.execute(MOVED)
        for name, rows in tables.items():
            await connection.copy_records_to_table(name, records=rows)
    return sum(map(len, tables.values()))


@asynccontextmanager
async def _connected(place: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    connection = await asyncpg.connect(place)
    try:
        yield connection
    finally:
        await connection.close()
