from __future__ import annotations

from collections.abc import Callable

import pytest

import oo
from oo._core.pipeline import Pipeline
from oo.gateway.context import gateway_context
from oo.gateway.errors import StoreUnavailable, Unauthorized
from oo.gateway.middleware.cors import Cors
from oo.gateway.middleware.error_responses import ErrorResponses
from oo.gateway.models import Route
from oo.testing import MockTransport, VirtualClock
from tests.support.calls import call
from tests.support.stores import LenientStore

APP = "https://app.example"
ORIGIN, METHOD = ("Origin", APP), ("Access-Control-Request-Method", "POST")
ROUTE = Route("r", "https://api.test", cors=(APP, "http://localhost:3000"))


class Away(LenientStore):
    """A store that cannot be read."""

    async def cors(self) -> frozenset[str]:
        raise StoreUnavailable("the vault /home/x/vault.db was replaced")


class Origins(LenientStore):
    def __init__(self, *origins: str) -> None:
        super().__init__()
        self.origins = origins
        self.asked = 0

    async def cors(self) -> frozenset[str]:
        self.asked += 1
        return frozenset(self.origins)


async def answered(
    request: oo.Request, *script: object, origins: tuple[str, ...] = (APP,), headers: tuple[tuple[str, str], ...] = ()
) -> tuple[oo.Response, int]:
    """The answer, and how many calls came through to the end."""
    script = script or (oo.Response(200, oo.Headers(headers), b"x", request=request),)
    transport = MockTransport(script)  # type: ignore[arg-type]
    answer = await Pipeline([Cors(Origins(*origins)), ErrorResponses()], transport, VirtualClock()).handle(request)
    return answer, len(transport.requests)


def told(answer: oo.Response) -> dict[str, str]:
    """What an answer says to a browser."""
    return {name: answer.headers[name] for name in answer.headers if name.startswith(("access-", "vary"))}


async def test_a_preflight_of_an_origin_that_a_route_names_is_answered() -> None:
    asked = ("Access-Control-Request-Headers", "authorization, content-type,x-stainless-os")
    request = call("OPTIONS", "/api/proxy/v1/chat?key=x", ORIGIN, METHOD, asked)
    answer, through = await answered(request)
    assert (answer.status, answer.body, through) == (204, b"", 0)
    assert told(answer) == {
        "access-control-allow-origin": APP,
        "access-control-allow-methods": "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT",
        "access-control-allow-headers": asked[1],
        "access-control-max-age": "600",
        "vary": "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
    }
    assert gateway_context(request).outcome == "preflight"


@pytest.mark.parametrize(
    "headers",
    [
        [ORIGIN],
        [METHOD],
        [("Origin", "https://other.example"), METHOD],
        [("Origin", "https://app.example.evil"), METHOD],
        [("Origin", "null"), METHOD],
        [ORIGIN, ORIGIN, METHOD],
        [ORIGIN, METHOD, ("Authorization", "Bearer t")],
        [ORIGIN, METHOD, ("X-API-Key", "t")],
    ],
)
async def test_what_is_no_preflight_or_of_another_origin_goes_on(headers: list[tuple[str, str]]) -> None:
    answer, through = await answered(call("OPTIONS", "/api/proxy/x", *headers, route=ROUTE))
    assert (answer.status, through) == (200, 1)


async def test_headers_that_are_none_are_not_said_again() -> None:
    asked = ("Access-Control-Request-Headers", "x\r\nSet-Cookie: a")
    answer, _ = await answered(call("OPTIONS", "/api/proxy/x", ORIGIN, METHOD, asked))
    assert (answer.status, "access-control-allow-headers" in answer.headers) == (204, False)


@pytest.mark.parametrize("endpoint", ["secret", "env", "health", "other"])
async def test_only_routes_are_for_browsers(endpoint: str) -> None:
    answer, through = await answered(call("OPTIONS", "/api/secret", ORIGIN, METHOD, endpoint=endpoint))
    assert (through, told(answer)) == (1, {})


async def test_answers_of_the_route_are_for_the_origins_that_it_names() -> None:
    theirs = (("Vary", "Accept"), ("Access-Control-Allow-Origin", "*"), ("Access-Control-Allow-Credentials", "true"))
    answer, _ = await answered(call("POST", "/api/proxy/x", ORIGIN, route=ROUTE), headers=theirs)
    assert told(answer) == {
        "vary": "Accept, Origin",
        "access-control-allow-origin": APP,
        "access-control-expose-headers": "*",
    }
    for headers in ([], [("Origin", "https://other.example")]):
        answer, _ = await answered(call("POST", "/api/proxy/x", *headers, route=ROUTE), headers=theirs)
        assert told(answer) == {"vary": "Accept, Origin"}


async def test_a_route_that_names_no_origin_leaves_the_word_to_its_upstream() -> None:
    theirs = (("Access-Control-Allow-Origin", "https://their.example"),)
    answer, _ = await answered(
        call("GET", "/api/proxy/x", ORIGIN, route=Route("r", "https://api.test")), headers=theirs
    )
    assert told(answer) == {"access-control-allow-origin": "https://their.example"}


@pytest.mark.parametrize(("origin", "allowed"), [(APP, APP), ("https://other.example", None), ("null", None)])
async def test_a_refusal_can_be_read_where_the_origin_is_named(origin: str, allowed: str | None) -> None:
    answer, _ = await answered(call("POST", "/api/proxy/x", ("Origin", origin)), Unauthorized("unknown"))
    assert (answer.status, answer.headers.get("Access-Control-Allow-Origin")) == (401, allowed)
    assert answer.headers["Vary"] == "Origin"


async def test_every_origin_may_be_named_and_then_no_credentials_are_allowed() -> None:
    route = Route("r", "https://api.test", cors=("*",))
    answers = [
        (await answered(call("OPTIONS", "/api/proxy/x", ORIGIN, METHOD), origins=("*",)))[0],
        (await answered(call("GET", "/api/proxy/x", ORIGIN, route=route), origins=("*",)))[0],
    ]
    for answer in answers:
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert "Access-Control-Allow-Credentials" not in answer.headers


async def test_the_origins_of_all_routes_are_read_once_a_second() -> None:
    store, clock = Origins(APP), VirtualClock()
    pipeline = Pipeline([Cors(store)], MockTransport(lambda _request: 401), clock)
    for _ in range(5):
        await pipeline.handle(call("OPTIONS", "/api/proxy/x", ORIGIN, METHOD))
        await pipeline.handle(call("GET", "/api/proxy/x", ORIGIN))
    assert store.asked == 1
    store.origins = ()
    clock.advance(1.0)
    assert (await pipeline.handle(call("OPTIONS", "/api/proxy/x", ORIGIN, METHOD))).status == 401
    assert store.asked == 2


async def test_a_call_without_an_origin_asks_no_store() -> None:
    store = Origins(APP)
    pipeline = Pipeline([Cors(store)], MockTransport([401]), VirtualClock())
    assert told(await pipeline.handle(call("GET", "/api/proxy/x"))) == {}
    assert store.asked == 0


@pytest.mark.parametrize(
    "request_of",
    [lambda: call("OPTIONS", "/api/proxy/x", ORIGIN, METHOD), lambda: call("GET", "/api/proxy/x", ORIGIN)],
    ids=["a preflight", "a call"],
)
async def test_where_no_origin_can_be_read_the_call_has_the_answer_of_any_other(
    request_of: Callable[[], oo.Request],
) -> None:
    refusing = MockTransport([StoreUnavailable("the vault /home/x/vault.db was replaced")])
    answer = await Pipeline([Cors(Away()), ErrorResponses()], refusing, VirtualClock()).handle(request_of())
    assert (answer.status, told(answer)) == (503, {})
