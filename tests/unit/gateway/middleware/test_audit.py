from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

import oo
from oo._http.body import Body
from oo.gateway.errors import AuditFailed
from oo.gateway.middleware.audit import WriteAudit
from oo.gateway.models import Route
from tests.support.calls import call, through
from tests.support.stores import Notes

ROUTE = Route("r", "https://api.test")


def ends(notes: Notes) -> list[tuple[str, int]]:
    return [(note["outcome"], note["status"]) for note in notes.ended]


async def test_a_line_says_who_asked_for_what_and_what_became_of_it() -> None:
    notes = Notes()
    request = call("PUT", "/api/proxy/v1/x?key=a", ("X-Forwarded-For", "10.1.1.1"), peer="proxy", route=ROUTE)
    scripted = oo.Response(201, oo.Headers({"X-Request-Id": "theirs"}), b"four", request=request)
    await through(WriteAudit(notes), request, scripted)
    (note,) = notes.ended
    expected = {
        "outcome": "allowed",
        "status": 201,
        "bytes_out": 4,
        "upstream_id": "theirs",
        "method": "PUT",
        "path": "/api/proxy/v1/x",
        "forwarded_for": "10.1.1.1",
    }
    assert {name: note[name] for name in expected} == expected


async def test_an_answer_of_the_gateways_own_has_no_id_of_an_upstream() -> None:
    notes, request = Notes(), call()
    await through(WriteAudit(notes), request, oo.Response(200, oo.Headers({"X-Request-Id": "mine"}), request=request))
    assert notes.ended[0]["upstream_id"] is None


async def test_what_the_gateway_answers_itself_has_its_own_word() -> None:
    notes = Notes()
    await through(WriteAudit(notes), call(outcome="used up"), 401)
    assert ends(notes) == [("used up", 401)]


@pytest.mark.parametrize(
    ("error", "ended", "end"),
    [
        (asyncio.CancelledError(), None, ("left", 499)),
        (ConnectionResetError(), None, ("left", 499)),
        (ZeroDivisionError(), None, ("failed", 500)),
        (asyncio.CancelledError(), "revoked", ("revoked", 499)),
    ],
)
async def test_a_call_without_an_answer_has_a_line(
    error: BaseException, ended: str | None, end: tuple[str, int]
) -> None:
    async def failing(_request: oo.Request) -> oo.Response:
        raise error

    notes = Notes()
    with pytest.raises(type(error)):
        await WriteAudit(notes)(call(ended=ended), failing)  # type: ignore[arg-type]  # no transport raises a BaseException
    assert ends(notes) == [end]


async def pieces(*parts: bytes | Exception) -> AsyncIterator[bytes]:
    for part in parts:
        if isinstance(part, Exception):
            raise part
        yield part


@pytest.mark.parametrize(
    ("parts", "read", "ended", "end"),
    [
        ((b"one", b"two"), 9, None, ("allowed", 200)),
        ((b"one", oo.DoubleOError("broken")), 9, None, ("broken off", 200)),
        ((b"one", b"two"), 1, None, ("left", 499)),
        ((b"one",), 0, None, ("left", 499)),
        ((b"one", oo.DoubleOError("broken")), 9, "expired", ("expired", 200)),
        ((b"one", b"two"), 1, "revoked", ("revoked", 200)),
    ],
)
async def test_a_stream_has_its_line_once_when_it_has_ended(
    parts: tuple[bytes | Exception, ...], read: int, ended: str | None, end: tuple[str, int]
) -> None:
    notes, request = Notes(), call(ended=ended)
    scripted = oo.Response(200, request=request, stream=Body(pieces(*parts)))
    answer, _ = await through(WriteAudit(notes), request, scripted)
    assert ends(notes) == []
    assert answer.stream is not None
    stream = aiter(answer.stream)
    try:
        for _ in range(read):
            if await anext(stream, None) is None:
                break
    except oo.DoubleOError:
        pass
    await answer.stream.aclose()
    assert ends(notes) == [end]


async def test_an_answer_that_must_have_a_line_and_has_none_is_not_given() -> None:
    notes = Notes(refusing=AuditFailed())
    answer, _ = await through(WriteAudit(notes), call(), b"the value")
    assert (answer.status, b"the value" in answer.body) == (503, False)


async def test_health_is_not_written_down_and_no_audit_is_none() -> None:
    notes = Notes()
    await through(WriteAudit(notes), call(endpoint="health"))
    await through(WriteAudit(), call())
    assert notes.ended == []


async def test_what_is_left_when_the_gateway_ends_is_cut() -> None:
    notes = Notes()
    middleware = WriteAudit(notes)
    middleware.cut(0)
    with pytest.raises(ConnectionResetError):
        await through(middleware, call(), ConnectionResetError())
    assert (ends(notes), notes.cuts) == ([("cut", 499)], [])
    middleware.cut(2)
    assert notes.cuts == [2]
    WriteAudit(None).cut(2)
