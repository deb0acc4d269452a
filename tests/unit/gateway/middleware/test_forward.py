from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

import oo
from oo._http.body import Body
from oo.gateway.errors import GatewayError, UpstreamFailed
from oo.gateway.middleware.forward import Forward
from oo.gateway.models import Route
from tests.support.calls import call, through

ROUTE = Route("r", "http://x.example/base", timeout=7.0)


async def pieces() -> AsyncIterator[bytes]:
    yield b"bo"
    yield b"dy"


class Here(Body):
    """A body that has come whole."""

    def here(self) -> bytes:
        return b"body"


FLOWING = Body(pieces)


@pytest.mark.parametrize(
    ("body", "passed"), [(None, None), (b"body", b"body"), (Here(pieces), b"body"), (FLOWING, FLOWING)]
)
async def test_a_call_becomes_the_upstreams(body: bytes | Body | None, passed: bytes | Body | None) -> None:
    headers = [("Authorization", "Bearer any"), ("X-Mine", "1"), ("Connection", "x-hop"), ("X-Hop", "1")]
    _, (sent,) = await through(Forward(), call("PUT", "/api/proxy/v1/x?q=1", *headers, body=body, route=ROUTE))
    assert (sent.method, sent.url, sent.body, sent.timeout) == ("PUT", "http://x.example/base/v1/x?q=1", passed, 7.0)
    ours = ("X-Request-Id", sent.context.id)
    assert sent.headers.pairs() == (("X-Mine", "1"), ours, ("Accept-Encoding", "identity"))


@pytest.mark.parametrize("name", ["X-Request-Id", "x-request-id"])
async def test_a_callers_own_name_of_the_call_goes_up_with_ours(name: str) -> None:
    given = [(name, "mine"), ("X-OO-Request-Id", "forged")]
    _, (sent,) = await through(Forward(), call("GET", "/api/proxy/x", *given, route=ROUTE))
    assert sent.headers.get_all("X-Request-Id") == ["mine"]
    assert sent.headers.get_all("X-OO-Request-Id") == [sent.context.id]


async def test_the_upstreams_name_of_the_call_comes_back_and_ours_is_not_its_to_give() -> None:
    request = call("GET", "/api/proxy/x", route=ROUTE)
    came = oo.Headers({"X-Request-Id": "theirs", "X-OO-Request-Id": "forged"})
    answer, _ = await through(Forward(), request, oo.Response(200, came, request=request))
    assert answer.headers.get("X-Request-Id") == "theirs"
    assert "X-OO-Request-Id" not in answer.headers


async def test_only_what_passes_comes_back() -> None:
    headers = oo.Headers([("X-Theirs", "1"), ("Set-Cookie", "a=b"), ("Server", "theirs")])
    scripted = oo.Response(201, headers, b"x", request=call())
    answer, _ = await through(Forward(), call(route=ROUTE), scripted)
    assert (answer.status, answer.headers.pairs(), answer.body) == (
        201,
        (("X-Theirs", "1"), ("X-OO-Source", "upstream")),
        b"x",
    )


async def test_no_answer_is_the_upstreams_failure() -> None:
    with pytest.raises(UpstreamFailed, match="the upstream of route r failed: refused") as caught:
        await through(Forward(), call(route=ROUTE), oo.DoubleOError("refused", reason="connection"))
    assert (caught.value.status, caught.value.outcome) == (502, "upstream connection")


async def test_what_broke_the_callers_body_is_what_the_caller_is_told() -> None:
    failure = oo.DoubleOError("the request's body could not be read", reason="body")
    failure.__cause__ = GatewayError(408, "too slow", "too slow")
    with pytest.raises(GatewayError, match="too slow") as caught:
        await through(Forward(), call(route=ROUTE), failure)
    assert caught.value.status == 408


async def test_what_goes_to_no_upstream_passes_as_it_is() -> None:
    request = call("GET", "/api/secret", ("Authorization", "Bearer any"), endpoint="secret")
    assert (await through(Forward(), request))[1] == [request]
