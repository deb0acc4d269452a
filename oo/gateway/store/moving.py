"""The rows of a store as they are moved into another: sealed, as they are kept."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import NamedTuple, Protocol, TypeAlias

from ..errors import StoreError, StoreMoved
from ..sealing import MasterKeys
from . import data_keys

MOVED = "moved"
"""The plain value that says where a store has moved to."""

CAME = "came"
"""The plain value that says by which move a store was filled."""


class Meta(NamedTuple):
    """A plain value of the store."""

    name: str
    value: str


class Record(NamedTuple):
    """A sealed record."""

    kind: str
    name: str
    version: int
    key: str
    sealed: bytes


class Counter(NamedTuple):
    """What is counted of a token."""

    hash: bytes
    id: str
    used: int
    tat: float


class Made(NamedTuple):
    """A call that was claimed, and its answer in pieces, if it has one. Times are in seconds since 1970."""

    token: str
    call: bytes
    fence: bytes
    digest: bytes
    at: float
    until: float
    done: bool
    day: int
    size: int
    pieces: tuple[bytes, ...]


Row: TypeAlias = "Meta | Record | Counter | Made"


class Source(Protocol):
    """A store that is moved or copied."""

    async def moved(self) -> str | None:
        """Which move, and where to, the store was frozen for."""

    async def freeze(self, move: str) -> None:
        """Open and count nothing more from now on, in whichever process."""

    async def thaw(self) -> None:
        """Go on as before."""

    def rows(self) -> AsyncGenerator[Row, None]:
        """Everything that is kept, of one moment."""

    async def close(self) -> None:
        """Close it."""


class Target(Protocol):
    """Where a store is moved or copied to."""

    async def came(self) -> str | None:
        """By which move the store there was filled; "" by none, None where there is no store."""

    async def fill(self, rows: AsyncIterator[Row]) -> int:
        """Make a store with these rows, all or none. Returns how many there were. StoreError if there is a store."""

    async def close(self) -> None:
        """Close it."""


def unavailable(move: str) -> StoreMoved:
    """What is said of a store that has moved."""
    return StoreMoved(f"the store has moved to {move.partition(' ')[2]}: name that one with --store or OO_STORE")


@asynccontextmanager
async def checked_rows(source: Source, masters: MasterKeys, move: str = "") -> AsyncIterator[AsyncIterator[Row]]:
    """The rows of a store, each of which the master keys open, as those of one that is filled by a `move`."""
    async with aclosing(source.rows()) as rows, aclosing(_opened_once(rows, masters)) as opened:
        if not move:
            yield opened
            return
        async with aclosing(_as_moved(opened, move)) as moved:
            yield moved


async def _opened_once(rows: AsyncIterator[Row], masters: MasterKeys) -> AsyncGenerator[Row, None]:
    """The rows, data keys first."""
    keys, known = data_keys.DataKeys(lambda: masters), list[data_keys.DataKey]()
    keys.learn(known)
    async for row in rows:
        if isinstance(row, Record):
            found = data_keys.parsed((row.kind, row.name, row.version), (row.key, row.sealed))
            if found is None:
                if row.key not in keys.ring:
                    raise StoreError(f"the {row.kind} {row.name!r} is sealed with a key that is not on the ring")
                keys.ring.open(row.key, row.kind, row.name, row.version, row.sealed)
            else:
                known.append(found)
                keys.learn(known)
                if not keys.has_opened(found):
                    why = "it was changed, or the master key of that time is needed"
                    others = data_keys.others([found], masters)
                    raise StoreError(f"the data key {row.name!r} does not open: {why}{others}")
        yield row


async def _as_moved(rows: AsyncIterator[Row], move: str) -> AsyncGenerator[Row, None]:
    yield Meta(CAME, move)
    async for row in rows:
        if isinstance(row, Meta) and row.name in (MOVED, CAME):
            continue
        # A call that is under way there is not answered here, and never made twice: it counts as made, unanswered.
        yield row._replace(done=True) if isinstance(row, Made) else row
