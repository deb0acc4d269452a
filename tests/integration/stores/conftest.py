from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from oo.gateway import postgres as postgres_store
from oo.gateway.open_store import open_store
from oo.gateway.sealing import Keyring, new_key
from oo.gateway.store.base import Keeper
from oo.gateway.vault import Vault

Open: TypeAlias = Callable[[], Awaitable[Keeper]]


@pytest.fixture
def ring() -> Keyring:
    return Keyring([new_key()])


@pytest.fixture(params=["sqlite", "postgres"])
async def opened(request: pytest.FixtureRequest, tmp_path: Path, ring: Keyring) -> AsyncIterator[Open]:
    """Opens one store of each kind, as often as it is called, as so many processes would."""
    if request.param == "sqlite":
        place = str(tmp_path / "home")
        Vault.create(Path(place), ring)
    else:
        place = request.getfixturevalue("postgres")
        await postgres_store.create(place, ring)
    async with AsyncExitStack() as stack:

        async def open_one() -> Keeper:
            return await stack.enter_async_context(open_store(place, lambda: ring))

        yield open_one


class Unhurried:
    """A keeper that is asked when a look at the epoch from before is not used any more: a millisecond."""

    def __init__(self, keeper: Keeper) -> None:
        self.keeper = keeper

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.keeper, name)
        if not inspect.iscoroutinefunction(method):
            return method

        async def later(*args: Any, **named: Any) -> Any:
            await asyncio.sleep(0.0015)
            return await method(*args, **named)

        return later


@pytest.fixture
async def keeper(opened: Open) -> Any:
    return Unhurried(await opened())


@pytest.fixture
async def other(opened: Open, keeper: Keeper) -> Any:
    return Unhurried(await opened())
