"""Response: what it tells of the answer, read once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

import oo
from oo import Headers, Request, Response
from oo._http.body import Body
from oo.testing import MockTransport, Scripted, Streamed
from tests.support.worlds import World

TOKEN = "token-of-a-response"


def answered(world: World, *script: Scripted, **settings: Any) -> Response:
    client = world.client("http://localhost:3001", transport=MockTransport(script), plugins=False, **settings)
    response = client.send("v1/x?key=of-the-query", TOKEN)
    assert isinstance(response, Response)
    return response


def test_it_tells_status_headers_body_and_what_happened_when(world: World) -> None:
    response = answered(world, 503, {"a": [1]}, retries=1, backoff_factor=0.001)
    assert (response.status, response.body, response.json()) == (200, b'{"a": [1]}', {"a": [1]})
    assert response.headers["content-type"] == "application/json"
    assert [what for what, _ in response.timeline] == ["attempt", 503, "attempt", 200]
    seconds = [at for _, at in response.timeline]
    assert seconds == sorted(seconds)
    assert seconds[0] >= 0


def test_its_body_is_parsed_once(world: World) -> None:
    response = answered(world, {"a": [1]})
    assert response.json() is response.json()


@pytest.mark.parametrize("fields", [{}, {"x-request-id": "r-1"}])
def test_its_request_id_is_the_servers(world: World, fields: dict[str, str]) -> None:
    sent = answered(world, {}).request
    assert Response(200, Headers(fields), request=sent).request_id == fields.get("x-request-id")


def test_a_replaced_one_leaves_the_first_as_it_was(world: World) -> None:
    first = answered(world, {"a": 1})
    assert first.json() == {"a": 1}
    second = first.replace(status=201, body=b"2", headers=Headers({"A": "b"}))
    assert (first.status, first.json(), "A" in first.headers) == (200, {"a": 1}, False)
    assert (second.status, second.json(), second.headers["a"]) == (201, 2, "b")
    assert second.request is first.request


def test_a_body_in_pieces_is_one_to_a_caller_who_wants_it_whole(world: World) -> None:
    assert answered(world, Streamed([b'{"a"', b": ", b"1}"])).json() == {"a": 1}


def test_a_body_that_is_no_json_is_the_operations_error(world: World) -> None:
    response = answered(world, {}).replace(body=b"{")
    for _ in range(2):
        with pytest.raises(oo.ProxyError) as caught:
            response.json()
        assert (caught.value.status, caught.value.reason) == (200, "protocol")


def test_its_repr_shows_neither_body_nor_header_nor_query_nor_token(world: World) -> None:
    assert repr(answered(world, {"a": "secret"})) == "<Response 200 to <Request proxy: POST /api/proxy/v1/x>>"


def test_aborting_it_tells_each_body_around_its_stream() -> None:
    ended: list[str] = []

    async def pieces() -> AsyncIterator[bytes]:
        yield b"a piece"

    inner = Body(pieces(), abort=lambda: ended.append("source"))
    response = Response(200, request=Request("GET", "http://x/"), stream=inner)
    outer = response.replace(stream=Body.wrapping(inner, pieces())).on_end(ended.append)
    assert outer.abort()
    assert ended == ["source", "left"]
    assert not outer.abort()
