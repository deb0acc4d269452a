"""BearerAuth: which requests carry the token, and where it shows."""

from __future__ import annotations

from typing import Any

import pytest

import oo
from oo.testing import MockTransport
from tests.support.worlds import World

TOKEN = "a-token-for-headers"
URL = "http://localhost:3001"
ANSWER = {"value": "v", "secrets": {"NAME": "v"}}

CALLS: dict[str, Any] = {
    "secret": lambda client: client.get_secret(TOKEN),
    "env": lambda client: client.get_env(TOKEN),
    "proxy": lambda client: client.proxy("v1/x", TOKEN),
    "chat": lambda client: client.chat_completion(TOKEN, []),
    "embed": lambda client: client.embed(TOKEN, ["a"]),
    "image": lambda client: client.image(TOKEN, "a tree"),
}


def authorized(world: World, *middleware: Any) -> tuple[Any, MockTransport]:
    transport = MockTransport(lambda _request: ANSWER)
    return world.client(URL, middleware=[*middleware, oo.BearerAuth()], transport=transport), transport


@pytest.mark.parametrize("call", CALLS)
def test_each_call_carries_its_own_token_as_a_bearer(world: World, call: str) -> None:
    client, transport = authorized(world)
    CALLS[call](client)
    client.get_secret("another-token")
    assert [request.headers.get_all("authorization") for request in transport.requests] == [
        [f"Bearer {TOKEN}"],
        ["Bearer another-token"],
    ]


def test_a_health_check_carries_none(world: World) -> None:
    client, transport = authorized(world)
    assert client.health() is True
    assert "Authorization" not in transport.requests[0].headers


def test_the_token_takes_the_place_of_any_other_authorization(world: World) -> None:
    async def basic(request: oo.Request, call_next: oo.CallNext) -> oo.Response:
        return await call_next(request.with_header("authorization", "Basic of-somebody"))

    client, transport = authorized(world, basic)
    client.get_secret(TOKEN)
    assert transport.requests[0].headers.get_all("Authorization") == [f"Bearer {TOKEN}"]


def test_outside_it_no_header_holds_the_token(world: World) -> None:
    seen: list[oo.Request] = []

    async def note(request: oo.Request, call_next: oo.CallNext) -> oo.Response:
        response = await call_next(request)
        seen.append(request)
        return response

    authorized(world, note)[0].get_secret(TOKEN)
    assert "Authorization" not in seen[0].headers


def test_a_chain_without_it_sends_no_token(world: World) -> None:
    transport = MockTransport(lambda _request: ANSWER)
    world.client(URL, middleware=[], transport=transport).get_secret(TOKEN)
    assert TOKEN not in repr(transport.requests[0].headers.pairs())


def test_neither_the_token_nor_its_header_is_in_a_repr(world: World) -> None:
    client, transport = authorized(world)
    client.proxy("v1/x?key=the-query", TOKEN)
    (request,) = transport.requests
    shown = f"{request!r} {request.headers!r} {client.client!r} {oo.Response(200, request=request)!r}"
    assert "POST /api/proxy/v1/x" in shown
    assert TOKEN not in shown
    assert "the-query" not in shown


async def _stamp(request: oo.Request, call_next: oo.CallNext) -> oo.Response:
    return await call_next(request.with_header("X-Team", "blue"))


@pytest.mark.parametrize("chain", [[_stamp], [_stamp, oo.ErrorMapping()]], ids=["alone", "ErrorMapping"])
@pytest.mark.parametrize("call", CALLS)
def test_a_401_says_that_the_chain_lacks_it(world: World, call: str, chain: list[Any]) -> None:
    transport = MockTransport(lambda request: oo.Response(401, body=b'{"error": "no token"}', request=request))
    for more, lacks in (([], True), ([oo.BearerAuth()], False)):
        client = world.client(URL, middleware=[*chain, *more], transport=transport)
        with pytest.raises(oo.AuthenticationError) as caught:
            CALLS[call](client)
        assert str(caught.value).endswith(
            "(401): no token" + "; the client's chain sent none: does it lack BearerAuth?" * lacks
        )
