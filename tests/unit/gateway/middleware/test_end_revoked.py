from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

import oo
from oo._http.body import Body
from oo.gateway import open_calls
from oo.gateway.context import gateway_context
from oo.gateway.errors import StoreUnavailable, Unauthorized
from oo.gateway.middleware.end_revoked import EndRevoked
from oo.gateway.models import Denial, Route
from oo.gateway.open_calls import UNAVAILABLE, OpenCalls
from tests.support.calls import call, through
from tests.support.stores import LenientStore
from tests.support.waiting import PATIENCE

ROUTE = Route("r", "https://api.test")


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_calls, "_INTERVAL", 0.01)


def watched(denial: Denial | None = None) -> tuple[EndRevoked, OpenCalls]:
    store = LenientStore()
    store.denial = denial
    calls = OpenCalls(store)
    return EndRevoked(calls), calls


async def waiting(_request: oo.Request) -> oo.Response:
    await asyncio.sleep(PATIENCE)
    raise AssertionError("nothing ended it")


@pytest.mark.parametrize(
    ("denial", "said"),
    [(Denial("revoked", "id"), ": it was revoked"), (Denial("expired", "id"), ": it has expired"), (Denial("x"), "")],
)
async def test_a_call_that_waits_for_its_answer_is_refused(denial: Denial, said: str) -> None:
    middleware, calls = watched(denial)
    request = call(route=ROUTE, token="t")
    with pytest.raises(Unauthorized) as refused:
        await middleware(request, waiting)  # type: ignore[arg-type]  # it needs no io
    assert (refused.value.outcome, str(refused.value)) == (denial.why, f"the token was not accepted{said}")
    assert gateway_context(request).ended == denial.why
    await asyncio.sleep(0)  # the task goes on, and is not cancelled again
    assert calls._calls == set()
    await calls.close()


async def test_a_call_of_a_store_that_does_not_answer_is_no_refusal_of_its_token() -> None:
    middleware, calls = watched(UNAVAILABLE)
    request = call(route=ROUTE)
    with pytest.raises(StoreUnavailable):
        await middleware(request, waiting)  # type: ignore[arg-type]
    assert gateway_context(request).ended == "unavailable"
    await calls.close()


async def test_a_caller_that_leaves_is_no_revocation() -> None:
    middleware, calls = watched()
    making = asyncio.create_task(middleware(call(route=ROUTE), waiting))  # type: ignore[arg-type]
    await asyncio.sleep(0.05)
    assert len(calls._calls) == 1
    making.cancel()
    with pytest.raises(asyncio.CancelledError):
        await making
    assert calls._calls == set()
    await calls.close()


@pytest.mark.parametrize("error", [ZeroDivisionError(), oo.DoubleOError("no")])
async def test_an_error_is_passed_on(error: Exception) -> None:
    async def failing(_request: oo.Request) -> oo.Response:
        raise error

    middleware, calls = watched()
    with pytest.raises(type(error)):
        await middleware(call(route=ROUTE), failing)  # type: ignore[arg-type]
    assert calls._calls == set()
    await calls.close()


async def pieces() -> AsyncIterator[bytes]:
    yield b"one"
    await asyncio.sleep(0.1)
    yield b"two"


async def test_a_stream_is_watched_until_it_has_ended() -> None:
    middleware, calls = watched()
    request = call(route=ROUTE)
    answer, _ = await through(middleware, request, oo.Response(200, request=request, stream=Body(pieces())))
    assert len(calls._calls) == 1
    assert (await answer.buffered()).body == b"onetwo"
    assert calls._calls == set()
    await calls.close()


async def test_a_stream_whose_token_is_revoked_is_broken_off() -> None:
    middleware, calls = watched(Denial("revoked", "id"))
    left = asyncio.Event()
    request = call(route=ROUTE, hang_up=left.set)
    stream = Body(pieces())
    answer, _ = await through(middleware, request, oo.Response(200, request=request, stream=stream))
    await asyncio.wait_for(left.wait(), PATIENCE)
    assert (stream.outcome, gateway_context(request).ended) == ("left", "revoked")
    assert answer.status == 200
    await calls.close()


@pytest.mark.parametrize("attributes", [{"route": ROUTE}, {"endpoint": "secret"}])
async def test_an_answer_in_one_piece_has_nothing_to_end(attributes: dict[str, Any]) -> None:
    middleware, calls = watched(Denial("revoked", "id"))
    answer, _ = await through(middleware, call(**attributes), b"whole")
    assert answer.body == b"whole"
    assert calls._calls == set()
    await calls.close()
