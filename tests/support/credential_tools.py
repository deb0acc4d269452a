"""What a kind of credentials is given of a call, over a real connection, and a server of tokens."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import parse_qsl, unquote_plus

from aiohttp import web

import oo
from oo._core.io import LoopIO
from oo._http.body import Body
from oo.gateway.background import Background
from oo.testing import VirtualClock
from oo.transports.aiohttp import AiohttpTransport
from tests.support.upstream import Upstream

T = TypeVar("T")


class Tools:
    """The tools of one route. Time passes by `io.advance` alone; `sent`, `hidden` and `versions` hold what was done."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.io = VirtualClock(LoopIO())
        self.allow_weak = True  # the tokens of tests are short
        self.began = now
        self.hidden: set[str] = set()
        self.sent: list[oo.Request] = []
        self.versions: list[tuple[str, str]] = []
        self.spooled = 0
        self.background = Background()
        self._transport = AiohttpTransport()

    def now(self) -> float:
        return self.began + self.io.now()

    def hide(self, values: Iterable[str]) -> None:
        self.hidden.update(values)

    async def send(self, request: oo.Request) -> oo.Response:
        self.sent.append(request)
        return await self._transport.send(request)

    async def complete(self, work: Coroutine[Any, Any, T]) -> T:
        return await self.background.complete(work)

    async def spool(self, body: Body) -> Body:
        self.spooled += 1
        pieces = [piece async for piece in body]

        async def again() -> AsyncIterator[bytes]:
            for piece in pieces:
                yield piece

        return Body(again, length=sum(map(len, pieces)))

    async def store_version(self, name: str, value: str) -> None:
        self.versions.append((name, value))

    async def __aenter__(self) -> Tools:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.background.close()
        await self._transport.close()


class Asked:
    """A request as the server of tokens got it."""

    def __init__(self, request: web.BaseRequest, body: bytes) -> None:
        self.method = request.method
        self.path = request.path
        self.headers = {name.lower(): value for name, value in request.headers.items()}
        self.form: Mapping[str, str] = dict(parse_qsl(body.decode(), keep_blank_values=True))
        self.basic: tuple[str, str] | None = None
        scheme, _, coded = self.headers.get("authorization", "").partition(" ")
        if scheme == "Basic":
            user, _, password = base64.b64decode(coded).decode().partition(":")
            self.basic = unquote_plus(user), unquote_plus(password)


class TokenServer(Upstream):
    """Listens on loopback while its `async with` block runs, and answers as `answer` says: a status and an object, or
    raw bytes. `asked` holds the requests."""

    def __init__(self, answer: Callable[[Asked], tuple[int, object]]) -> None:
        self.answer = answer
        self.asked: list[Asked] = []

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        asked = Asked(request, await request.read())
        self.asked.append(asked)
        status, said = self.answer(asked)
        body = said if isinstance(said, bytes) else json.dumps(said).encode()
        return web.Response(status=status, body=body, content_type="application/json")
