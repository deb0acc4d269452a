"""The store in PostgreSQL, for as many gateways as there are: their uses, claims and revocations are one.

What was read and opened is kept until an owner's change raises the epoch, which each request looks at anew
(`store/postgres/epochs.py`). A gateway answers while its lease is confirmed (`lease.py`), and a revocation returns when
every gateway has seen it. What is counted is counted by the engine (`uses.py`, `calls.py`), whose time is the store's.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from .._core.io import retrieved
from .errors import StoreError, StoreUnavailable
from .keeper import RecordKeeper, Work, kept_as
from .models import Denial, Grant, Kind, Token, check_name
from .sealing import MasterKeys
from .spending import Counted, has_use
from .store import data_keys, secret_versions, things
from .store.moving import MOVED, unavailable
from .store.postgres import schema
from .store.postgres.calls import Calls
from .store.postgres.connections import Connection, Connections
from .store.postgres.epochs import Epochs
from .store.postgres.lease import Lease
from .store.postgres.place import parse
from .store.postgres.reaper import Reaper
from .store.postgres.rows import CollectedRows, PostgresRows
from .store.postgres.uses import Uses
from .store.records import Records
from .store.rows import Place, Sealed
from .tokens import is_token

if TYPE_CHECKING:
    from typing_extensions import Self

T = TypeVar("T")
_YES, _NO = ("1", "true", "yes", "on"), ("", "0", "false", "no", "off")
_CONNECTIONS = 6  # of one process, besides one for epochs and one for the lease
_RESTARTS = 5  # of a judgement whose token's terms were changed meanwhile
_KEEPS, _PAUSE = 50, 0.02  # of keeping a new version while others change something; seconds between two, at most
_RAISE = "UPDATE oo.epoch SET version = version + 1 RETURNING version"
_KEEP = "SELECT oo.keep_version($1, $2, $3, $4, $5, $6)"
_EPOCH = "SELECT version, (SELECT value FROM oo.meta WHERE name = 'moved') FROM oo.epoch"
_STANDBYS = "SELECT current_setting('synchronous_standby_names'), current_setting('synchronous_commit')"


class PostgresStore(RecordKeeper):
    """A Keeper over a PostgreSQL database. It is open within its `async with` block; StoreError if there is no store or
    the master key is another's."""

    engine = "postgres"

    def __init__(self, place: str, load: Callable[[], MasterKeys]) -> None:
        super().__init__(load)
        self._place = parse(place)
        self._own_root = b""
        self._connections = Connections(self._place, _CONNECTIONS)
        self._leases, self._looks = Connections(self._place), Connections(self._place)
        self._epochs = Epochs(self._looks)
        self._lease = Lease(self._leases, self._epochs, self._connections.abandon)
        self._uses = Uses(self._connections)
        self._calls: Calls = Calls(self._connections, self._keys, self._learn, self._epochs.now)
        self._reaper = Reaper(self._connections)
        self._version, self._reads = 0, dict[Any, Any]()
        self._flights: dict[Any, asyncio.Future[Any]] = {}

    async def __aenter__(self) -> Self:
        try:
            await self._epochs.current()
            _, self._own_root = await self._keys.opened_root(
                self._learn,
                lambda: self._look(lambda records: records.read("root", "root", 1)),
                f"the store at {self._place}",
            )
            if not await self.keys():
                await self._give_keys()
        except BaseException:
            await self.close()
            raise
        return self

    async def _give_keys(self) -> None:
        """Give data keys to a store of an earlier version."""
        first = await asyncio.to_thread(data_keys.first, self._keys.masters, self._own_root)
        try:
            await self._change(lambda records: data_keys.put_first(records.rows, first))
        except StoreUnavailable:
            raise
        except StoreError as error:  # a role of gateways may not
            raise StoreError(
                f"the store at {self._place} is of an earlier version: a command of its owner, such as "
                f"`oo store status`, brings it up to this one ({error})"
            ) from None
        await self._learn()

    async def close(self) -> None:
        await self._reaper.close()
        await self._uses.close()
        await self._calls.close()
        await self._lease.close()
        await self._epochs.close()
        for connections in (self._connections, self._leases, self._looks):
            await connections.close()

    async def warnings(self) -> list[str]:
        found = await super().warnings()
        said = os.environ.get("OO_STORE_REPLICATED", "").lower()
        if said in _YES:
            return found  # its storage keeps copies by itself, as some clouds have it
        if said not in _NO:
            found = [*found, f"OO_STORE_REPLICATED is {said!r}, which counts as 0: 1 or 0 is expected"]
        names, commit = await self._connections.run(lambda db: db.fetchrow(_STANDBYS), writes=False)
        if names and commit not in ("local", "off"):
            return found
        return [
            *found,
            "the store has no synchronous standby, and what it acknowledged is lost with its disk; where its storage "
            "keeps copies by itself, set OO_STORE_REPLICATED=1",
        ]

    async def check(self) -> None:
        await self._lease.check()
        await self._look(lambda records: records.read("root", "root", 1))

    async def authorize(self, token: str, kind: Kind, *, key: str | None = None) -> Grant | Denial:
        for _ in range(_RESTARTS):
            early = self._ask_early(token)
            found = await self._opened(token, kind)
            if isinstance(found, Denial):
                return found
            if found.uses is not None:
                counted = await (early[1] if early and early[0] is found else self._uses.counted(found))
                is_used_up = counted is not None and not has_use(found, counted.used)
                if is_used_up and (key is None or not await self._calls.is_known(found.id, self._call(key))):
                    return found.denied("used up")
            if found.rate is None:
                return found.grant
            outcome = await self._uses.charge(found)
            if outcome != "stale":
                return outcome or found.grant
            self._epochs.expire()
        raise _moving()

    async def consume(self, token: str, kind: Kind) -> Grant | Denial:
        for turn in range(_RESTARTS):
            found = await self._judged_by_engine(token, kind, turn, counted=True)
            if isinstance(found, Denial):
                return found
            if found.uses is None:
                return found.grant
            outcome = await self._uses.consume(found)
            if outcome != "stale":
                return outcome or found.grant
            self._epochs.expire()
        raise _moving()

    async def terms(self, token: str) -> tuple[Token, float] | Denial:
        found = await self._find_token(token)
        if isinstance(found, Denial):
            return found
        counted = await self._uses.counted(found)
        return Denial("unknown") if counted is None else (replace(found, used=counted.used), counted.tat)

    async def claim(self, token: str, key: str, seconds: float) -> bytes | Denial | Literal["taken"]:
        for turn in range(_RESTARTS):
            found = await self._judged_by_engine(token, "route", turn, counted=False)
            if isinstance(found, Denial):
                return found
            outcome = await self._calls.claim(found, self._call(key), seconds)
            if outcome != "stale":
                return outcome
            self._epochs.expire()
        raise _moving()

    async def put_secret(self, name: str, value: str) -> int:
        check_name(name)
        things.check_size({"value": value})

        for _ in range(_KEEPS):
            version, number, sealed = await self._next_version(name, value)
            (key, secret), (_, head) = sealed["secret"], sealed["head"]
            # By a function, which is all that a role of gateways may change of what is an owner's.
            if await self._keep(version, name, number, key, secret, head):
                return number
            await asyncio.sleep(random.uniform(0, _PAUSE))  # noqa: S311  # no secret
        raise StoreUnavailable("others change the store faster than it can be read")

    @property
    def _root(self) -> bytes:
        return self._own_root

    def _now(self) -> float:
        return self._epochs.now()

    async def _opened(self, token: str, kind: Kind) -> Token | Denial:
        self._reaper.begin()
        await self._lease.check()
        found = await super()._opened(token, kind)
        await self._lease.check()  # it may have run out while the terms were looked at
        return found

    async def _judged_by_engine(self, token: str, kind: Kind, turn: int, *, counted: bool) -> Token | Denial:
        """The terms of a token for a statement that compares their revision: as they were read last, at the first turn.
        Where only those who are `counted` have such a statement, others' are read anew."""
        known = self._known(token) if turn == 0 else None
        if known is None or (counted and known.uses is None) or isinstance(known.opens(kind, self._now()), Denial):
            return await self._opened(token, kind)
        await self._lease.check()
        return known

    def _ask_early(self, token: str) -> tuple[Token, asyncio.Future[Counted | None]] | None:
        """What was counted of a token, asked while its terms are looked at anew."""
        known = self._known(token)
        if known is None or known.uses is None:
            return None
        asking = self._uses.counted(known)
        asking.add_done_callback(retrieved)
        return known, asking

    def _known(self, token: str) -> Token | None:
        known = self._reads.get(kept_as(token))
        return known if isinstance(known, Token) else None

    async def _find_token(self, token: str) -> Token | Denial:
        # What cannot be one costs the engine nothing.
        return await super()._find_token(token) if is_token(token) else Denial("malformed")

    async def _look(self, work: Work[T]) -> T:
        return (await self._read(work))[1]

    async def _kept(self, key: tuple[str, str] | bytes, work: Work[T]) -> T:
        version = (await self._epochs.current()).version
        if version != self._version:
            self._version, self._reads = version, {}
        if key in self._reads:
            kept: T = self._reads[key]
            return kept
        flight = self._flights.get((version, key))
        if flight is None:  # else what it reads began after somebody looked at the same epoch
            flight = self._flights[version, key] = asyncio.ensure_future(self._read(work))
            flight.add_done_callback(partial(self._landed, (version, key)))
        value: T
        version, value = await asyncio.shield(flight)
        # A missing thing isn't kept: callers could ask for ever more names.
        if value is not None and version == self._version:
            self._reads[key] = value
        return value

    def _landed(self, key: Any, flight: asyncio.Future[Any]) -> None:
        del self._flights[key]
        retrieved(flight)

    async def _read(self, work: Work[T]) -> tuple[int, T]:
        """What some work reads, all of it as of one moment, and the epoch of that."""

        async def read(connection: Connection) -> tuple[int, T]:
            async with self._moment(connection) as version:
                return version, await work(Records(PostgresRows(connection), self._keys))

        return await self._with_keys(lambda: self._connections.run(read, writes=False))

    @asynccontextmanager
    async def _moment(self, connection: Connection) -> AsyncIterator[int]:
        """The epoch of the moment that all is read as of."""
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            version, moved = await connection.fetchrow(_EPOCH)
            if moved is not None:
                raise unavailable(moved)
            yield version

    async def _change(self, work: Work[T]) -> T:
        async def change(connection: Connection) -> T:
            async with connection.transaction():
                await connection.execute(_RAISE)  # its row is the lock of all who change something
                if (moved := await PostgresRows(connection).meta(MOVED)) is not None:
                    raise unavailable(moved)
                return await work(Records(PostgresRows(connection), self._keys))

        try:
            return await self._with_keys(lambda: self._connections.run(change))
        finally:
            self._epochs.expire()

    async def _learn(self) -> list[data_keys.DataKey]:
        rows = await self._connections.run(lambda db: data_keys.every(PostgresRows(db)), writes=False)
        await asyncio.to_thread(self._keys.learn, rows)  # which may ask a KMS
        return rows

    async def _reseal(self, places: Sequence[Place]) -> int:
        async def reseal(connection: Connection) -> int:
            async with connection.transaction():
                # No owner changes anything meanwhile, nor does this: the epoch stays.
                await connection.execute(f"{_EPOCH} FOR UPDATE")
                records = Records(PostgresRows(connection), self._keys)
                return sum([await records.reseal(place) for place in places])

        return await self._connections.run(reseal)

    async def _next_version(self, name: str, value: str) -> tuple[int, int, dict[str, Sealed]]:
        """The epoch, the number of a secret's next version, and what is to be kept of it, sealed, by kind."""

        async def read(connection: Connection) -> tuple[int, int, dict[str, Sealed]]:
            rows = CollectedRows(connection)
            async with self._moment(connection) as version:
                number = await secret_versions.add(Records(rows, self._keys), name, value)
            return version, number, rows.puts

        return await self._with_keys(lambda: self._connections.run(read, writes=False))

    async def _keep(self, *version: object) -> bool:
        try:
            return bool(await self._connections.run(lambda db: db.fetchval(_KEEP, *version)))
        finally:
            self._epochs.expire()

    async def _acknowledged(self) -> None:
        await self._lease.acknowledged((await self._epochs.current()).version)


async def create(place: str, masters: MasterKeys) -> str:
    """Make a new store; StoreError if there is one. Returns where it is, without a password."""
    found = parse(place)
    await schema.create(found, masters)
    return str(found)


def _moving() -> StoreUnavailable:
    return StoreUnavailable("the token's terms are changed faster than they can be read")
