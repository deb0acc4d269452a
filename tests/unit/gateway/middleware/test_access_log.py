from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

import oo
from oo._http.body import Body
from oo.gateway.logs import ACCESS, FIELDS
from oo.gateway.middleware.access_log import AccessLog
from oo.gateway.models import Route
from tests.support.calls import call, through

TOKEN = "oo_" + "a" * 43
ROUTE = Route("r", "https://api.test")


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    caplog.set_level(logging.INFO, ACCESS)

    class Found(list[dict[str, Any]]):
        def __iter__(self) -> Any:
            return iter([getattr(record, FIELDS) for record in caplog.records])

    return Found()


async def test_a_line_says_who_asked_for_what_and_what_came_of_it(
    lines: list[dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    request = call("PUT", "/api/proxy/v1/x?key=a", peer="192.0.2.1", route=ROUTE, token_id="id")
    await through(AccessLog(), request, oo.Response(201, body=b"four", request=request))
    (line,) = lines
    assert line.pop("ms") >= 0
    assert line == {
        "request_id": request.context.id,
        "peer": "192.0.2.1",
        "method": "PUT",
        "path": "/api/proxy/v1/x",
        "status": 201,
        "bytes": 4,
        "token_id": "id",
        "route": "r",
    }
    assert '"192.0.2.1" "PUT" "/api/proxy/v1/x" 201 4 ' in caplog.messages[0]


@pytest.mark.parametrize("token_id", [None, "id"])
async def test_a_token_in_a_path_is_not_written(lines: list[dict[str, Any]], token_id: str | None) -> None:
    request = call("GET", f"/api/proxy/{TOKEN}", token_id=token_id)
    await through(AccessLog(), request, 401)
    (line,) = lines
    assert TOKEN not in str(line)
    assert line["path"] == ("/api/proxy/***" if token_id is None else "/api/proxy/oo_***")


@pytest.mark.parametrize(("end", "status"), [(True, 200), (False, 499)])
async def test_a_stream_has_its_line_when_it_has_ended(lines: list[dict[str, Any]], end: bool, status: int) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"one"
        yield b"two"

    request = call("GET", "/api/proxy/x", token_id="id")
    response, _ = await through(AccessLog(), request, oo.Response(200, request=request, stream=Body(pieces())))
    assert list(lines) == []
    assert response.stream is not None
    async for _ in response.stream:
        if not end:
            break
    response.abort()
    assert [line["status"] for line in lines] == [status]


@pytest.mark.parametrize(("error", "status"), [(ConnectionResetError(), 499), (ZeroDivisionError(), 500)])
async def test_a_call_without_an_answer_has_a_line(lines: list[dict[str, Any]], error: Exception, status: int) -> None:
    with pytest.raises(type(error)):
        await through(AccessLog(), call(token_id="id"), error)
    assert [line["status"] for line in lines] == [status]
