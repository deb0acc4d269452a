from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

import oo
from oo._http.body import Body
from oo.gateway.fronts.base_url import Front
from oo.gateway.models import Denial, Grant, Kind, Route
from oo.gateway.stack import Stack
from tests.support.calls import unauthorized
from tests.support.exchanging import exchange, request
from tests.support.stores import LenientStore, Notes
from tests.support.streams import pieces

TOKEN = "Authorization: Bearer any"


class Store(LenientStore):
    """A store with one of everything."""

    denial: Denial | None = None

    async def authorize(  # type: ignore[override]
        self, token: str, kind: Kind, *, key: str | None = None
    ) -> Grant | Denial:
        return self.denial or Grant("id", kind, "a")

    async def secret(self, name: str) -> str | None:
        return "value"

    async def environment(self, name: str) -> dict[str, str] | None:
        return {"A": "1"}

    async def route(self, name: str) -> Route | None:
        return Route(name, "http://127.0.0.1:9", allow=("GET /v1/*",))


class Place:
    """A front over the chain, with a store and an audit."""

    def __init__(self, *plugins: oo.Middleware) -> None:
        self.store, self.notes = Store(), Notes()
        self.stack = Stack(self.store, self.notes, {oo.Slot.CALL: plugins})
        self.front = Front(self.stack)

    async def ask(self, *sent: Any, **kwargs: Any) -> tuple[int, dict[str, str], Any]:
        got = await exchange(self.front.handle, request(*sent, **kwargs))
        head, _, body = got.decode().partition("\r\n\r\n")
        first, *lines = head.split("\r\n")
        return int(first.split()[1]), dict(line.split(": ", 1) for line in lines), json.loads(body) if body else None


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    place = Place()
    yield place
    await place.stack.close()


@pytest.mark.parametrize(
    ("path", "body"),
    [("/api/secret", {"value": "value"}), ("/api/env", {"secrets": {"A": "1"}}), ("/health", {"status": "ok"})],
)
async def test_an_answer_is_json_that_nobody_stores(place: Place, path: str, body: Any) -> None:
    status, headers, got = await place.ask("GET", TOKEN, path=path)
    assert (status, got) == (200, body)
    assert (headers["Content-Type"], headers["Cache-Control"]) == ("application/json", "no-store")
    assert len(headers["X-Request-Id"]) == 32
    assert place.notes.outcomes == ([] if path == "/health" else ["allowed"])


@pytest.mark.parametrize(
    ("sent", "path", "status", "outcome"),
    [
        (("GET",), "/api/secret", 401, "no token"),
        (("GET", "Authorization: Basic any"), "/api/secret", 401, "no token"),
        (("GET", "Authorization: Bearer "), "/api/secret", 401, "no token"),
        (("GET", TOKEN, TOKEN), "/api/secret", 401, "no token"),
        (("POST", TOKEN), "/api/secret", 404, "no such place"),
        (("GET", TOKEN), "/api/none", 404, "no such place"),
        (("GET", TOKEN), "/api/proxy/v2/x", 403, "not allowed"),
        (("GET", TOKEN), "/api/proxy/../x", 400, "bad path"),
        (("TRACE", TOKEN), "/api/proxy/v1/x", 405, "not allowed"),
        (("POST", TOKEN, "Idempotency-Key: é"), "/api/proxy/v1/x", 400, "bad request"),
        (("POST", TOKEN, "Idempotency-Key: a", "Idempotency-Key: b"), "/api/proxy/v1/x", 400, "bad request"),
    ],
)
async def test_a_refusal_has_a_status_and_an_outcome(
    place: Place, sent: tuple[str, ...], path: str, status: int, outcome: str
) -> None:
    got, headers, body = await place.ask(*sent, path=path)
    assert (got, place.notes.outcomes, set(body)) == (status, [outcome], {"error"})
    assert len(headers["X-Request-Id"]) == 32
    assert headers.get("WWW-Authenticate") == ("Bearer" if status == 401 else None)


@pytest.mark.parametrize(
    ("denial", "reason"),
    [
        (Denial("malformed"), ""),
        (Denial("unknown"), ""),
        (Denial("revoked", "id"), ": it was revoked"),
        (Denial("expired", "id"), ": it has expired"),
        (Denial("used up", "id"), ": it is used up"),
        (Denial("wrong kind", "id", opens="secret"), ": it opens a secret, and nothing else"),
        (Denial("wrong kind", "id", opens="route"), ": it opens a route, and nothing else"),
    ],
)
@pytest.mark.parametrize("path", ["/api/secret", "/api/env", "/api/proxy/v1/x"])
async def test_who_holds_a_token_is_told_why_and_nobody_else(
    place: Place, denial: Denial, reason: str, path: str
) -> None:
    place.store.denial = denial
    status, headers, body = await place.ask("GET", TOKEN, path=path)
    assert (status, body) == (401, unauthorized(path, reason))
    assert (headers["X-OO-Source"], place.notes.outcomes) == ("gateway", [denial.why])


async def test_a_rate_says_when_to_come_again_in_whole_seconds(place: Place) -> None:
    place.store.denial = Denial("rate", "id", 2.1)
    status, headers, _ = await place.ask("GET", TOKEN, path="/api/secret")
    assert (status, headers["Retry-After"], place.notes.outcomes) == (429, "3", ["rate"])


@pytest.mark.parametrize(("path", "status"), [("/api/proxy", 403), ("/api/proxy?a=1", 403), ("/api/proxyx", 404)])
async def test_the_base_url_itself_is_the_root_of_the_api(place: Place, path: str, status: int) -> None:
    assert (await place.ask("GET", TOKEN, path=path))[0] == status


@pytest.mark.parametrize(("version", "status"), [("1.1", 400), ("1.0", 200)])
async def test_only_http_1_0_goes_without_a_host(place: Place, version: str, status: int) -> None:
    got = await exchange(place.front.handle, f"GET /health HTTP/{version}\r\nConnection: close\r\n\r\n".encode())
    assert int(got.split()[1]) == status


async def test_a_caller_who_has_left_is_answered_nothing_that_matters() -> None:
    async def leaving(request: oo.Request, call_next: oo.CallNext) -> oo.Response:
        raise ConnectionResetError

    place = Place(leaving)
    assert (await exchange(place.front.handle, request("GET", path="/api/secret"))).startswith(b"HTTP/1.1 499 ")
    assert place.notes.outcomes == ["left"]
    await place.stack.close()


@pytest.mark.parametrize(
    ("parts", "begins"),
    [((b"one", KeyError("canary")), b"HTTP/1.1 200 OK"), ((KeyError("canary"),), b"HTTP/1.1 500 ")],
    ids=["after it has begun", "before"],
)
async def test_an_answer_that_fails_looks_whole_to_nobody(parts: Any, begins: bytes) -> None:
    async def failing(request: oo.Request, call_next: oo.CallNext) -> oo.Response:
        return oo.Response(200, request=request, stream=Body(pieces(*parts)))

    place = Place(failing)
    got = await exchange(place.front.handle, request("GET", path="/api/secret"))
    assert got.startswith(begins)
    assert b"canary" not in got
    assert not got.endswith(b"0\r\n\r\n")
    await place.stack.close()


async def test_a_handshake_that_is_none_is_refused_in_the_shape_of_its_api(place: Place) -> None:
    fields = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: x", "Sec-WebSocket-Version: 13")
    status, _, body = await place.ask("GET", TOKEN, *fields, path="/api/proxy/v1/x")
    assert (status, body["error"]["type"]) == (400, "invalid_request_error")
    assert place.notes.outcomes == ["bad request"]
