"""A store that moves to another place, is copied into a file, or is filled from one.

A move freezes the store, copies its rows as they are sealed, and leaves it frozen: from then on it says where it has
moved to. A crash leaves the target empty or whole, and a second run goes on from there.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from . import keyring
from .errors import StoreError, StoreUnavailable
from .open_store import is_postgres, key_home, shown
from .paths import VAULT_FILE, check_home, hand_over, make_home
from .store.moving import Source, Target, checked_rows
from .store.results import RESULTS_FILE
from .store.sqlite_moving import SQLiteSource, SQLiteTarget


async def migrate(source: str, target: str) -> int:
    """Move a store to an empty place; the number of rows. StoreError if it cannot be, and the store goes on as before.
    The same master key opens it there."""
    ring = keyring.load(key_home(source))
    async with AsyncExitStack() as stack:
        old, new = await stack.enter_async_context(_source(source)), await stack.enter_async_context(_target(target))
        there = _shown(target)
        move, came = await old.moved(), await new.came()
        if move is not None and move.partition(" ")[2] != there:
            raise StoreError(f"the store has moved to {move.partition(' ')[2]} already, or is about to")
        if came is not None:
            if move is not None and came == move.partition(" ")[0]:
                return 0  # a run before this one was stopped after its end
            raise StoreError(f"there is a store at {there} already: name an empty place")
        if move is None:
            move = f"{secrets.token_hex(8)} {there}"
            await old.freeze(move)
        try:
            async with checked_rows(old, ring, move.partition(" ")[0]) as rows:
                return await new.fill(rows)
        except StoreUnavailable as error:
            if error.unsure:
                raise StoreError(f"{error}; run this again") from None
            await old.thaw()
            raise
        except BaseException:  # stopped by Ctrl-C too: the old place goes on
            await old.thaw()
            raise


async def backup(place: str, file: Path) -> int:
    """Copy a store into one file, as of one moment, without the answers to idempotent calls; the number of rows."""
    ring = keyring.load(key_home(place))
    async with _source(place, answers=False) as source:
        if (move := await source.moved()) is not None:
            raise StoreError(f"the store has moved to {move.partition(' ')[2]}")
        async with checked_rows(source, ring) as rows:
            return await SQLiteTarget(file).fill(rows)


async def restore(place: str, file: Path) -> int:
    """Fill an empty place with what `backup` has copied; the number of rows. StoreError if the master key does not open
    it, or the place is not empty."""
    ring = keyring.load(key_home(place), is_made=True)
    source = SQLiteSource(file)
    try:
        async with _target(place) as target, checked_rows(source, ring, "backup") as rows:
            return await target.fill(rows)
    finally:
        await source.close()


@asynccontextmanager
async def _source(place: str, *, answers: bool = True) -> AsyncIterator[Source]:
    source: Source
    if is_postgres(place):
        from .store.postgres.moving import PostgresSource
        from .store.postgres.place import parse

        source = PostgresSource(parse(place))
    else:
        home = key_home(place)
        source = SQLiteSource(home / VAULT_FILE, home / RESULTS_FILE if answers else None)
    try:
        yield source
    finally:
        await source.close()


@asynccontextmanager
async def _target(place: str) -> AsyncIterator[Target]:
    if is_postgres(place):
        from .store.postgres.moving import PostgresTarget
        from .store.postgres.place import parse

        yield PostgresTarget(parse(place))
        return
    home = key_home(place)
    check_home(home)
    make_home(home)
    yield SQLiteTarget(home / VAULT_FILE, home / RESULTS_FILE)
    hand_over(home, home / VAULT_FILE, home / RESULTS_FILE)


def _shown(place: str) -> str:
    """A place as it may be kept and shown to those who work elsewhere."""
    return shown(place) if is_postgres(place) else str(key_home(place).absolute())
