"""Connections to PostgreSQL: a few, each used by one piece of work at a time.

No statement is cancelled: an engine that waits for its standby would commit all the same. Work goes on where whoever
asked for it has left, and what does not answer in time has its socket closed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeAlias, TypeVar

import asyncpg

from ...._core.io import retrieved
from ...errors import StoreError, StoreUnavailable
from .failures import in_words
from .place import Place

T = TypeVar("T")
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Work = Callable[[Connection], Awaitable[T]]

CONNECT = 1.0  # seconds that a connection may take to be made
ANSWER = 5.0  # seconds that a piece of work may take
_RETRIES = 3  # of what the engine undid, since it was in the way of something else
_UNDONE = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)
_LOST = (
    OSError,
    asyncio.TimeoutError,  # 3.10's is no OSError
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.OperatorInterventionError,  # shut down, crashed, or starting
    asyncpg.InsufficientResourcesError,  # too many connections, a full disk
    asyncpg.ReadOnlySQLTransactionError,  # it was the primary
    asyncpg.QueryCanceledError,
)
_NONE = "there is no store at {}: run `oo init`"
_SILENT = "the store at {} does not answer: {}"
_SAME = "SELECT 1 / (pg_backend_pid() = {})::int"
_CHECK = "SELECT current_setting('synchronous_commit'), current_setting('fsync'), pg_is_in_recovery()"


class Connections:
    """At most `most` connections to a place. StoreUnavailable where the engine does not answer, StoreError where it
    refuses."""

    def __init__(self, place: Place, most: int = 1) -> None:
        self._place = place
        self._free = asyncio.Semaphore(most)
        self._idle: list[Connection] = []
        self._busy: set[Connection] = set()
        self._running: set[asyncio.Task[Any]] = set()

    async def run(self, work: Work[T], *, writes: bool = True, within: float = ANSWER) -> T:
        """What some work on a connection returns, `within` so many seconds. It is done whole or not at all, and goes on
        where whoever waits is cancelled. Of what `writes`, a StoreUnavailable says whether it may have been done."""
        task = asyncio.ensure_future(self._run(work, writes, within))
        self._running.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    def drop(self) -> None:
        """Close the connections that are not in use: whatever they led to is not what it was."""
        while self._idle:
            self._idle.pop().terminate()

    def abandon(self) -> None:
        """Close all connections: the engine does not answer, so what is under way on them is not waited for."""
        self.drop()
        for connection in self._busy:
            connection.terminate()

    async def close(self) -> None:
        """Wait for what was begun, and close the connections."""
        if self._running:
            await asyncio.wait(self._running)
        self.drop()

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        retrieved(task)

    async def _run(self, work: Work[T], writes: bool, within: float) -> T:
        for left in reversed(range(_RETRIES)):
            async with self._free:
                connection = await self._taken()
                try:
                    return await self._answer(connection, work, writes, within)
                except _UNDONE:
                    if not left:
                        raise StoreUnavailable("the store is busy with something else") from None
        raise AssertionError("unreachable")

    async def _answer(self, connection: Connection, work: Work[T], writes: bool, within: float) -> T:
        self._busy.add(connection)
        failure = ""
        # Not cancelled: its socket is closed, and what waits for an answer has none.
        loop = asyncio.get_running_loop()
        late = loop.call_later(within, connection.terminate)
        try:
            return await work(connection)
        except _UNDONE:
            raise
        except _LOST as error:
            failure = in_words(error if loop.time() < late.when() else asyncio.TimeoutError())
            self.drop()
            connection.terminate()
        except asyncpg.PostgresError as error:
            raise _refused(error, self._place) from None
        finally:
            late.cancel()
            self._busy.discard(connection)
            if not connection.is_closed():
                self._idle.append(connection)
        raise StoreUnavailable(_SILENT.format(self._place, failure), unsure=writes)

    async def _taken(self) -> Connection:
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
        try:
            connection = await connect(self._place)
        except StoreUnavailable:
            self.drop()
            raise
        return connection


async def connect(place: Place) -> Connection:
    """A new connection to the engine that takes writes; StoreUnavailable if there is none, StoreError if it refuses or
    would acknowledge what is not on its disk."""
    connection = await _connected(place)
    try:
        if await _is_pooled(connection, place):
            connection.terminate()
            # Each transaction may have another of the pooler's connections, where no statement was prepared, or another
            # client's of the same name.
            connection = await _connected(place, statement_cache_size=0)
        await _check(connection, place)
    except BaseException:
        connection.terminate()
        raise
    return connection


@asynccontextmanager
async def connected(place: Place) -> AsyncIterator[Connection]:
    """A connection of the block's own; what fails on it is a StoreUnavailable, or a StoreError."""
    connection = await connect(place)
    try:
        yield connection
    except _LOST as error:
        raise StoreUnavailable(_SILENT.format(place, in_words(error))) from None
    except asyncpg.PostgresError as error:
        raise _refused(error, place) from None
    finally:
        connection.terminate()


async def _connected(place: Place, **options: int) -> Connection:
    failure = ""
    attrs = "read-write" if len(place.hosts) > 1 else "any"
    settings = {**place.settings, **options, "server_settings": {"application_name": "oo"}}
    try:
        connection: Connection = await asyncpg.connect(**settings, timeout=CONNECT, target_session_attrs=attrs)
        return connection
    except (*_LOST, asyncpg.TargetServerAttributeNotMatched, asyncpg.PostgresError) as error:
        failure = in_words(error)
    except ValueError:
        raise StoreError(f"the store {place} cannot be reached like that") from None
    raise StoreUnavailable(f"the store at {place} cannot be reached: {failure}")


async def _is_pooled(connection: Connection, place: Place) -> bool:
    """Whether a pooler stands between: the process that it says one is connected to is none of the engine's."""
    try:
        # Without parameters, so that nothing is prepared.
        await _in_time(connection.execute(_SAME.format(connection.get_server_pid())), place)
    except asyncpg.DivisionByZeroError:
        return True
    return False


async def _check(connection: Connection, place: Place) -> None:
    row = await _in_time(connection.fetchrow(_CHECK), place)
    commit, fsync, recovering = row or (None, None, True)
    for setting, value in (("synchronous_commit", commit), ("fsync", fsync)):
        if value == "off":
            raise StoreError(f"the store at {place} has {setting} off: what it acknowledges may be lost; set it on")
    if recovering:
        raise StoreUnavailable(f"the store at {place} is a standby")


async def _in_time(asking: Awaitable[T], place: Place) -> T:
    try:
        return await asyncio.wait_for(asking, CONNECT)
    except _LOST as error:
        raise StoreUnavailable(_SILENT.format(place, in_words(error))) from None


def _refused(error: asyncpg.PostgresError, place: Place) -> StoreError:
    if isinstance(error, (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError)):
        return StoreUnavailable(_NONE.format(place))
    return StoreError(f"the store at {place} refused: {in_words(error)}")
