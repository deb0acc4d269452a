"""Data keys: what a store's records are sealed with, a key for each purpose, itself sealed ("wrapped") with a master
key.

They are records of a kind of their own, so whatever copies a store copies them. A store of an earlier version has none
and is sealed with the master key itself, which becomes a data key for what was sealed before.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple, TypeVar

from .. import kept
from ..errors import IntegrityError, StoreError, UnknownKey
from ..sealing import Keyring, MasterKeys, key_id, new_key
from .rows import Place, Rows, Sealed

T = TypeVar("T")
KIND = "key"
"""The kind of these records."""

RESULTS = "results"
"""The purpose of the key that those of the answers to idempotent calls are derived from, a key for each day."""

PURPOSES = {
    **dict.fromkeys(("secret", "head", "authority"), "secrets"),
    "env": "environments",
    **dict.fromkeys(("route", "bundle"), "routes"),
    **dict.fromkeys(("token", "root"), "tokens"),
}
"""For the kind of a record, what the key is for that seals it."""

_BEFORE = "before"  # the purpose of a master key that has sealed records itself
_TRIES = 3  # to read the data keys: a master key may be replaced between that and the reading of its file
_NOT_ALL = "the vault holds what none of these keys opens; nothing was changed"
_SPARE = 24 * 3600.0  # seconds for which a key of results is kept longer than what it seals: clocks differ


class DataKey(NamedTuple):
    """A row of a data key. `id` is that of the key, by which it is known once it is open."""

    purpose: str
    id: str
    number: int
    sealed: Sealed

    @property
    def place(self) -> Place:
        """What the row is bound to."""
        return KIND, f"{self.purpose}.{self.id}", self.number


class _Opened(NamedTuple):
    row: DataKey
    key: bytes
    made: int  # seconds since 1970


class DataKeys:
    """A store's data keys as this process has unwrapped them, each once. `load` gives the master keys: again, where
    those that are here do not open a row, since `oo rekey` may have been at work."""

    def __init__(self, load: Callable[[], MasterKeys]) -> None:
        self._load = load
        self._opened: dict[Place, _Opened] = {}
        self._had_rows: bool | None = None
        self._lock = threading.Lock()
        self.masters = load()
        self.ring = Keyring(())
        """What opens records."""
        self.results: tuple[bytes, ...] = ()
        """The keys of results, the current one last."""

    def learn(self, rows: Sequence[DataKey]) -> None:
        """Go by these rows from now on. May wait for a KMS; StoreUnavailable where that does not answer. A row that
        does not open is passed over: what it seals does not open either."""
        with self._lock:
            opened = [found for row in rows if (found := self._opened.get(row.place) or self._unwrapped(row))]
            known = {each.row.place: each for each in opened}
            if bool(rows) is self._had_rows and known.keys() == self._opened.keys():
                return  # the ring stays the same object, by which it is seen that nothing was learnt
            self._had_rows = bool(rows)
            # What is sealed with the master key itself, as long as the store has no others.
            self.ring = Keyring([each.key for each in opened] if rows else self.masters.own)
            self.results = tuple(each.key for each in self._of_results(known.values()))
            self._opened = known

    def has_opened(self, row: DataKey) -> bool:
        """Whether a row stands at the place that its key was wrapped for."""
        return row.place in self._opened

    async def opened_root(
        self, learn: Callable[[], Awaitable[list[DataKey]]], read: Callable[[], Awaitable[bytes]], what: str
    ) -> tuple[list[DataKey], bytes]:
        """The rows of all data keys, and the store's root. StoreError where that does not open."""
        hint = ""
        for _ in range(_TRIES):
            rows = await learn()
            try:
                return rows, await read()
            except IntegrityError:
                hint = others(rows, self.masters)
        raise StoreError(f"the master key does not open {what}{hint}")

    async def with_new(self, attempt: Callable[[], Awaitable[T]], learn: Callable[[], Awaitable[object]]) -> T:
        """What is attempted: again once those are learnt that were added meanwhile, where it met one of them."""
        while True:
            ring = self.ring
            try:
                return await attempt()
            except UnknownKey:
                await learn()
                if self.ring is ring:
                    raise

    def aged(self, now: float) -> set[str]:
        """The ids of the keys of results that have had a successor for longer than any result is kept."""
        results = self._of_results(self._opened.values())
        until = now - kept.KEPT - _SPARE
        return {old.row.id for old, new in pairwise(results) if new.made < until}

    def _of_results(self, keys: Iterable[_Opened]) -> list[_Opened]:
        return sorted((each for each in keys if each.row.purpose == RESULTS), key=lambda each: each.row.number)

    def _unwrapped(self, row: DataKey) -> _Opened | None:
        if row.sealed[0] not in self.masters:
            self.masters = self._load()
        try:
            return unwrap(row, self.masters)
        except (IntegrityError, KeyError):
            return None


def unwrap(row: DataKey, masters: MasterKeys) -> _Opened:
    """The key of a row. IntegrityError where it was changed, KeyError where it is another master key's."""
    by, wrapped = row.sealed
    value = masters.open(by, *row.place, wrapped)
    key, made = value[:32], int.from_bytes(value[32:], "big")
    if key_id(key) != row.id:  # a KMS may not bind what it wraps
        raise IntegrityError(f"the data key {row.id!r} in the vault is another one")
    return _Opened(row, key, made)


def new(purpose: str, number: int, masters: MasterKeys, key: bytes | None = None) -> DataKey:
    """A row for a key, by default a new one."""
    key = new_key() if key is None else key
    return _wrapped(DataKey(purpose, key_id(key), number, ("", b"")), key, int(time.time()), masters)


def first(masters: MasterKeys, root: bytes | None = None) -> list[DataKey]:
    """The rows of a store that is made, or, with its `root`, of one of an earlier version: that sealed its results with
    keys derived from it, and the rest with the master key."""
    rows = [new(purpose, 1, masters) for purpose in dict.fromkeys(PURPOSES.values())]
    rows.append(new(RESULTS, 1, masters, root))
    if root is not None:
        rows += [new(_BEFORE, number, masters, key) for number, key in enumerate(masters.own)]
    return rows


def rewrapped(rows: Sequence[DataKey], masters: MasterKeys) -> list[DataKey]:
    """The rows that are to be wrapped anew, wrapped with the current master key. A KMS keeps versions of its own of one
    key, so all of its are. StoreError where any row was changed, or is none of these master keys'."""
    try:
        opened = [unwrap(row, masters) for row in rows]
    except KeyError:
        raise StoreError(_NOT_ALL) from None
    mine = {key_id(key) for key in masters.own}
    stale = [each for each in opened if each.row.sealed[0] != masters.current or masters.current not in mine]
    return [_wrapped(*each, masters) for each in stale]


def successors(rows: Sequence[DataKey], masters: MasterKeys) -> list[DataKey]:
    """A row of a new key for each purpose."""
    purposes = dict.fromkeys([*PURPOSES.values(), RESULTS])
    return [new(each, 1 + max((r.number for r in rows if r.purpose == each), default=0), masters) for each in purposes]


async def every(rows: Rows) -> list[DataKey]:
    """The rows of all data keys."""
    return _parsed(await rows.every(KIND))


def parsed(place: Place, sealed: Sealed) -> DataKey | None:
    """The data key that a row is, or None."""
    kind, name, number = place
    values = (name, number, *sealed)
    if kind != KIND or not all(map(isinstance, values, (str, int, str, bytes))):
        return None  # in a damaged file a column may hold anything
    purpose, _, identity = name.partition(".")
    return DataKey(purpose, identity, number, sealed)


def others(rows: Sequence[DataKey], masters: MasterKeys) -> str:
    """What to say of rows that a KMS has wrapped and that do not open; else ""."""
    by = {row.sealed[0] for row in rows if ":" in row.sealed[0]}
    missing = sorted(each for each in by if each not in masters)
    if missing:
        return f"; its keys are wrapped by {', '.join(missing)}, which OO_KMS does not name"
    return f"; {', '.join(sorted(by))}, which OO_KMS names, says that it has not wrapped its keys" if by else ""


def warnings(rows: Sequence[DataKey], keys: DataKeys) -> list[str]:
    """What to warn of, by the rows of a store and what could be unwrapped of them."""
    purposes = [row.purpose for row in rows if keys.has_opened(row)]
    broken = [row.place[1] for row in rows if not keys.has_opened(row)]
    found = [f"the data key {each!r} does not open: it was changed, or its master key is not here" for each in broken]
    if _BEFORE in purposes:
        found.append(
            "some of what an earlier version has sealed opens with the master key of that time, whatever master key "
            "the store has: `oo rekey --deep` ends that"
        )
    if any(purposes.count(purpose) > 1 for purpose in PURPOSES.values()):
        found.append("`oo rekey --deep` is under way, or was stopped: run it again, to its end")
    if missing := sorted({*PURPOSES.values(), RESULTS}.difference(purposes)):
        found.append(f"there is no data key for {', '.join(missing)}: it was removed or changed. Restore a backup")
    return found


async def current(rows: Rows, kind: str) -> DataKey:
    """The key that a new record of that kind is sealed with; IntegrityError if there is none."""
    return _current(await every(rows), kind)


async def put_first(rows: Rows, keys: Sequence[DataKey]) -> None:
    """Write the first rows, unless another process has done so. StoreError where none of them opens some record."""
    if not await rows.places(KIND):
        await check_all_open(rows, keys)
        await _put(rows, keys)


async def check_all_open(rows: Rows, keys: Sequence[DataKey]) -> None:
    """StoreError where some record is sealed with none of these keys."""
    if await rows.key_ids() - {key.id for key in keys}:
        raise StoreError(_NOT_ALL)


async def whole(rows: Rows) -> list[DataKey]:
    """The rows of all data keys, to be replaced. StoreError where one is damaged or missing."""
    stored = await rows.every(KIND)
    found = _parsed(stored)
    if len(found) < len(stored):
        raise IntegrityError("a data key in the vault is damaged; nothing was changed")
    await check_all_open(rows, found)
    return found


async def replace(rows: Rows, seen: Sequence[DataKey], wanted: Sequence[DataKey]) -> bool:
    """Write rows in the place of what was `seen`; False, and nothing is written, where that has changed meanwhile."""
    if await every(rows) != list(seen):
        return False
    await _put(rows, wanted)
    # A process of an earlier version would seal with the master key that this names, though the store needs it no more.
    await rows.set_meta("key", "-")
    return True


async def sealed_otherwise(rows: Rows, most: int) -> list[Place]:
    """Where up to so many records are that are not sealed with the current key of their purpose."""
    latest = _latest(await every(rows)).values()
    return await rows.sealed_otherwise([row.id for row in latest if row.purpose != _BEFORE], most)


async def finish(rows: Rows, aged: set[str]) -> None:
    """Drop the keys that nothing is sealed with any more, and those of results that are `aged`."""
    used, found = await rows.key_ids(), await every(rows)
    needed = {_current(found, kind).id for kind in PURPOSES}
    for row in found:
        if row.id in aged if row.purpose == RESULTS else row.id not in used | needed:
            await rows.delete(*row.place[:2])


def _parsed(stored: Sequence[tuple[Place, Sealed]]) -> list[DataKey]:
    return [row for each in stored if (row := parsed(*each)) is not None]


def _latest(rows: Sequence[DataKey]) -> dict[str, DataKey]:
    """The newest key of each purpose."""
    return {row.purpose: row for row in sorted(rows, key=lambda row: row.number)}


def _current(rows: Sequence[DataKey], kind: str) -> DataKey:
    found = _latest(rows).get(PURPOSES[kind])
    if found is None:
        raise IntegrityError(f"the vault has no key for a {kind}")
    return found


async def _put(rows: Rows, keys: Sequence[DataKey]) -> None:
    for row in keys:
        await rows.put(row.place, row.sealed)


def _wrapped(row: DataKey, key: bytes, made: int, masters: MasterKeys) -> DataKey:
    by = masters.current
    return row._replace(sealed=(by, masters.seal(by, *row.place, key + made.to_bytes(8, "big"))))
