"""The calls that go upstream, watched: revocation and expiry end them within a second."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

from .._http.response import Response
from .context import GatewayContext
from .errors import StoreError
from .models import Denial
from .store.base import Store

logger = logging.getLogger("oo.gateway")
_INTERVAL = 0.4  # seconds between two looks
UNAVAILABLE = Denial("unavailable")
"""Why a call is ended where no store says that its token opens anything still."""

_STEP = 64  # tokens that are looked at before others have their turn


class OpenCall:
    """A call that is under way, made by `task` until it has a response."""

    __slots__ = ("context", "denial", "response", "task")

    def __init__(self, context: GatewayContext, task: asyncio.Task[object] | None) -> None:
        self.context = context
        self.task = task
        self.response: Response | None = None
        self.denial: Denial | None = None

    def end(self, denial: Denial) -> None:
        """End the call: its task is cancelled, or its response broken off on both sides."""
        self.denial, self.context.ended = denial, denial.why
        if self.response is not None:
            self.response.abort()
            if self.context.hang_up is not None:
                self.context.hang_up()  # also where the caller reads nothing
        elif self.task is not None:
            self.task.cancel()


class OpenTunnel(OpenCall):
    """A tunnel that is looked into, which is no call itself: `leave` ends it once what is under way in it is answered,
    as a call of its own."""

    __slots__ = ("_leave",)

    def __init__(self, context: GatewayContext, leave: Callable[[], object]) -> None:
        super().__init__(context, None)
        self._leave = leave

    def end(self, denial: Denial) -> None:
        """End the tunnel: at once where nothing is under way in it."""
        self.denial = denial
        self._leave()


class OpenCalls:
    """The calls under way, each of which is ended when its token opens nothing any more, or no store says so."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._calls: set[OpenCall] = set()
        self._watching: asyncio.Task[None] | None = None

    def add(self, call: OpenCall) -> None:
        """Watch a call, until `discard`."""
        self._calls.add(call)
        if self._watching is None:
            self._watching = asyncio.create_task(self._watch())

    def discard(self, call: OpenCall) -> None:
        """Watch a call no longer."""
        self._calls.discard(call)
        call.task = None  # its error's traceback holds the call

    async def close(self) -> None:
        """Watch no more."""
        if self._watching is not None:
            self._watching.cancel()
            with suppress(asyncio.CancelledError):
                await self._watching

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_INTERVAL)
            try:
                await self._look()
            except Exception as error:  # a plugin's body may do anything, and the others are still to be ended
                logger.error("ending a call failed: %s", type(error).__name__)  # noqa: TRY400  # it may quote the call

    async def _look(self) -> None:
        of_token: dict[str, list[OpenCall]] = {}
        for call in self._calls:
            of_token.setdefault(call.context.token, []).append(call)
        for number, (token, calls) in enumerate(of_token.items(), 1):
            denial = await self._denial(token)
            for call in calls:
                if denial is not None and call in self._calls:  # it may have ended meanwhile
                    self._calls.discard(call)
                    call.end(denial)
            if number % _STEP == 0:
                await asyncio.sleep(0)

    async def _denial(self, token: str) -> Denial | None:
        try:
            found = await self._store.opens(token, "route")
        except StoreError:
            return UNAVAILABLE
        return found if isinstance(found, Denial) else None
