from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

import oo
from oo._http.body import Body
from oo.gateway.middleware.audit import WriteAudit
from tests.support.calls import call, through


class Lines:
    def __init__(self) -> None:
        self.written: list[dict[str, Any]] = []

    def write(self, **line: Any) -> None:
        self.written.append(line)

    @property
    def ends(self) -> list[tuple[str, int]]:
        return [(line["outcome"], line["status"]) for line in self.written]


async def test_a_line_says_who_asked_for_what_and_what_became_of_it() -> None:
    lines, request = Lines(), call(token_id="id", target="a", outcome=None, upstream="https://b")
    await through(WriteAudit(lines), request, 201)
    (line,) = lines.written
    assert line.pop("ms") >= 0
    assert line == {
        "request_id": request.context.id,
        "token_id": "id",
        "operation": "proxy",
        "target": "a",
        "outcome": "allowed",
        "status": 201,
        "upstream": "https://b",
    }


async def test_what_the_gateway_answers_itself_has_its_own_word() -> None:
    lines = Lines()
    await through(WriteAudit(lines), call(outcome="used up"), 401)
    assert lines.ends == [("used up", 401)]


@pytest.mark.parametrize(
    ("error", "end"),
    [
        (asyncio.CancelledError(), ("left", 499)),
        (ConnectionResetError(), ("left", 499)),
        (ZeroDivisionError(), ("failed", 500)),
    ],
)
async def test_a_call_without_an_answer_has_a_line(error: BaseException, end: tuple[str, int]) -> None:
    async def failing(_request: oo.Request) -> oo.Response:
        raise error

    lines = Lines()
    with pytest.raises(type(error)):
        await WriteAudit(lines)(call(), failing)  # type: ignore[arg-type]  # no transport raises a BaseException
    assert lines.ends == [end]


async def pieces(*parts: bytes | Exception) -> AsyncIterator[bytes]:
    for part in parts:
        if isinstance(part, Exception):
            raise part
        yield part


@pytest.mark.parametrize(
    ("parts", "read", "end"),
    [
        ((b"one", b"two"), 9, ("allowed", 200)),
        ((b"one", oo.DoubleOError("broken")), 9, ("broken off", 200)),
        ((b"one", b"two"), 1, ("left", 499)),
        ((b"one",), 0, ("left", 499)),
    ],
)
async def test_a_stream_has_its_line_once_when_it_has_ended(
    parts: tuple[bytes | Exception, ...], read: int, end: tuple[str, int]
) -> None:
    lines = Lines()
    scripted = oo.Response(200, request=call(), stream=Body(pieces(*parts)))
    answer, _ = await through(WriteAudit(lines), call(), scripted)
    assert lines.ends == []
    assert answer.stream is not None
    stream = aiter(answer.stream)
    try:
        for _ in range(read):
            if await anext(stream, None) is None:
                break
    except oo.DoubleOError:
        pass
    await answer.stream.aclose()
    assert lines.ends == [end]


async def test_health_is_not_written_down_and_no_audit_is_none() -> None:
    lines = Lines()
    await through(WriteAudit(lines), call(endpoint="health"))
    await through(WriteAudit(), call())
    assert lines.written == []
