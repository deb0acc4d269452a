"""The two worlds. A test that takes `world` is written once, as plain calls, and runs blocking and under asyncio."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable
from typing import Any

import oo
import oo.testing
from oo._core.io import IO, BlockingIO, LoopIO
from tests.support.waiting import PATIENCE


class Calls:
    """A client of either world, called as the blocking one is."""

    def __init__(self, world: World, client: Any) -> None:
        self.world = world
        self.client = client

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.client, name)
        if not callable(found):
            return found
        return lambda *args, **kwargs: self.world.run(lambda: found(*args, **kwargs))


class World:
    """One of the two: `client()` makes a client, `together()` makes calls at the same time."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.blocking = name == "blocking"
        self.loop = None if self.blocking else asyncio.new_event_loop()
        self._clients: list[Any] = []

    def client(self, *args: Any, **kwargs: Any) -> Any:
        client = (oo.Client if self.blocking else oo.AsyncClient)(*args, **kwargs)
        self._clients.append(client)
        return Calls(self, client)

    def io(self) -> IO:
        return BlockingIO() if self.blocking else LoopIO()

    def clock(self) -> oo.testing.VirtualClock:
        return oo.testing.VirtualClock(self.io())

    def run(self, call: Callable[[], Any]) -> Any:
        if self.loop is None:
            return call()

        async def awaited() -> Any:
            value = call()
            return await value if inspect.isawaitable(value) else value

        return self.loop.run_until_complete(awaited())

    def together(self, *calls: Callable[[], Any]) -> list[Any]:
        """What each call gave or raised. A call is a lambda over `client.client`, such as
        `lambda: client.client.get_secret(token)`."""
        if self.loop is not None:

            async def gathered() -> list[Any]:
                return await asyncio.gather(*(call() for call in calls), return_exceptions=True)

            return self.loop.run_until_complete(gathered())
        results: list[Any] = [None] * len(calls)

        def one(index: int) -> None:
            try:
                results[index] = calls[index]()
            except BaseException as error:
                results[index] = error

        threads = [threading.Thread(target=one, args=(index,), daemon=True) for index in range(len(calls))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        return results

    def close(self) -> None:
        for client in self._clients:
            self.run(client.close)
        if self.loop is not None:
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
            self.loop.close()
