"""The gateway's whole chain over real connections, on a clock of the test's own."""

from __future__ import annotations

from types import TracebackType
from typing import Any

import oo
from oo._core.io import LoopIO
from oo.gateway.models import Route
from oo.gateway.stack import Stack
from oo.gateway.vault import Vault
from oo.testing import VirtualClock
from tests.support.calls import call
from tests.support.credential_tools import Asked, TokenServer
from tests.support.stores import Notes


class Chain:
    """The chain over a vault, with a route to make calls of. Time passes by `clock.advance` alone."""

    def __init__(self, vault: Vault) -> None:
        self.vault = vault
        self.clock = VirtualClock(LoopIO())
        self.notes = Notes()
        self.stack = Stack(vault, self.notes, io=self.clock)
        self.token = ""

    async def route(self, upstream: str, *credentials: str, **settings: Any) -> Chain:
        settings = {"allow_private": True, **settings}
        await self.vault.put_route(Route("r", upstream, credentials=credentials, **settings))
        self.token = await self.vault.issue("route", "r")
        return self

    async def call(self, path: str = "x", method: str = "GET", body: bytes | None = None) -> oo.Response:
        request = call(method, f"/api/proxy/{path}", ("Authorization", f"Bearer {self.token}"), body=body)
        return await (await self.stack.handle(request)).buffered()

    async def __aenter__(self) -> Chain:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stack.close()


class Guarded(TokenServer):
    """An upstream that takes bearer tokens of some, and answers with all that it got."""

    def __init__(self, *tokens: str) -> None:
        super().__init__(self.check)
        self.tokens = set(tokens)

    def check(self, asked: Asked) -> tuple[int, object]:
        sent = asked.headers.get("authorization", "").removeprefix("Bearer ")
        return (200 if sent in self.tokens else 401), {"headers": asked.headers, "path": asked.path}
