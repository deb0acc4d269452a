from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

import oo
import oo.testing
from oo._core.io import LoopIO
from oo._core.pipeline import Pipeline
from oo._http.body import Body
from oo.gateway.background import Background
from oo.gateway.context import gateway_context
from oo.gateway.errors import Conflict, GatewayError, Unauthorized
from oo.gateway.middleware import idempotency
from oo.gateway.middleware.idempotency import Idempotency
from oo.gateway.models import Denial, Route, StoredResponse
from tests.support.calls import call, through
from tests.support.stores import LenientStore
from tests.support.waiting import PATIENCE

ROUTE = Route("r", "http://x.example", timeout=1.0)


def store(*found: Any, known: Any = None) -> LenientStore:
    """A store whose claims find these, one after the other."""
    left = list(found)

    async def claim() -> Any:
        return left.pop(0)

    return LenientStore(claim=claim, known=known)


def keyed(body: bytes | Body | None = b"body") -> oo.Request:
    return call("POST", "/api/proxy/v1/x", body=body, route=ROUTE, key="k", token="t", token_id="id")


async def asked(store: LenientStore, request: oo.Request, *script: Any) -> tuple[oo.Response, list[oo.Request]]:
    background = Background()
    try:
        return await through(Idempotency(store, background), request, *script)
    finally:
        await background.close()


@pytest.mark.parametrize(("status", "kept"), [(200, True), (422, True), (503, False), (409, False)])
async def test_what_a_repeat_cannot_better_is_stored_and_else_the_key_is_freed(status: int, kept: bool) -> None:
    mine, request = store(7.0), keyed()
    scripted = oo.Response(status, oo.Headers([("X-A", "1")]), b"x", request=request)
    answer, (sent,) = await asked(mine, request, scripted)
    assert (answer.status, sent.body, gateway_context(request).paid) == (status, b"body", True)
    assert mine.settled == [StoredResponse(status, (("X-A", "1"),), b"x") if kept else None]


async def test_a_stream_is_stored_once_it_was_read_to_its_end() -> None:
    mine, background = store(7.0), Background()
    answer, _ = await through(Idempotency(mine, background), keyed(), oo.testing.Streamed([b"one", b"two"]))
    assert mine.settled == []
    assert (await answer.buffered()).body == b"onetwo"
    assert mine.settled == [StoredResponse(200, (), b"onetwo")]
    await background.close()


async def test_a_call_that_fails_frees_its_key() -> None:
    mine = store(7.0)
    with pytest.raises(ZeroDivisionError):
        await asked(mine, keyed(), ZeroDivisionError())
    assert mine.settled == [None]


async def refused() -> AsyncIterator[bytes]:
    raise GatewayError(413, "too large", "too large")
    yield b""


async def test_a_body_that_is_refused_frees_the_key() -> None:
    mine = store(7.0)
    with pytest.raises(GatewayError, match="too large"):
        await asked(mine, keyed(Body(refused())))
    assert mine.settled == [None]


async def test_a_token_without_a_use_is_refused_before_its_body_is_read() -> None:
    request = keyed(Body(refused()))
    with pytest.raises(Unauthorized) as caught:
        await asked(store(Denial("used up", "id")), request)
    assert (caught.value.outcome, gateway_context(request).paid) == ("used up", False)


async def test_a_stored_result_is_replayed_and_nothing_sent() -> None:
    known = StoredResponse(201, (("X-A", "1"),), b"first")
    answer, sent = await asked(store("taken", known=known), keyed())
    assert (answer.status, answer.headers.pairs(), answer.body, sent) == (201, (("X-A", "1"),), b"first", [])


async def test_a_large_stored_result_comes_in_pieces() -> None:
    known = StoredResponse(201, (("X-A", "1"),), oo.testing.Streamed([b"one", b"two"]))
    answer, sent = await asked(store("taken", known=known), keyed())
    assert (answer.status, answer.headers.pairs(), sent) == (201, (("X-A", "1"),), [])
    assert (await answer.buffered()).body == b"onetwo"


async def test_a_call_that_was_made_and_whose_result_is_gone_is_a_410() -> None:
    with pytest.raises(Conflict) as caught:
        await asked(store("taken", known="gone"), keyed())
    assert caught.value.status == 410


async def test_a_repeat_waits_for_the_end_of_a_call_that_another_process_makes() -> None:
    found: list[Any] = ["taken", "taken", StoredResponse(200, (), b"first")]
    answer, sent = await asked(store("taken", known=lambda: found.pop(0)), keyed())
    assert (answer.body, sent, found) == (b"first", [], [])


async def test_repeats_in_one_process_wait_for_an_event_and_one_of_them_makes_what_failed() -> None:
    taken = {"free": 2}  # claims that are given: to the first, and to one of those who waited for it

    async def claim() -> Any:
        if looks["busy"]:
            return "taken"
        taken["free"] -= 1
        looks["busy"] = True
        return 7.0

    looks: dict[str, Any] = {"busy": False, "count": 0}

    class Mine(LenientStore):
        async def result(self, token_id: str, key: str, digest: bytes) -> Any:
            looks["count"] += 1
            return "taken" if looks["busy"] else (self.settled[-1] if self.settled else None)

        async def complete(
            self, token_id: str, key: str, until: float, digest: bytes, response: StoredResponse | None
        ) -> None:
            await super().complete(token_id, key, until, digest, response)
            looks["busy"] = False

        async def release(self, token_id: str, key: str, until: float) -> None:
            looks["busy"] = False

    begun, go = asyncio.Event(), asyncio.Event()

    class Slow(oo.testing.MockTransport):
        async def send(self, request: oo.Request) -> oo.Response:
            begun.set()
            await go.wait()
            return await super().send(request)

    background = Background()
    chain = Pipeline([Idempotency(Mine(claim=claim), background)], Slow([503, b"made"]), LoopIO())
    first = asyncio.ensure_future(chain.handle(keyed()))
    await begun.wait()
    others = [asyncio.ensure_future(chain.handle(keyed())) for _ in range(3)]
    await asyncio.sleep(0.2)
    assert looks["count"] == 3  # one each, however long it takes
    with pytest.raises(Conflict) as caught:
        await chain.handle(keyed(b"another"))
    assert caught.value.status == 422
    go.set()
    assert (await first).status == 503
    # Each of the others may be the one that makes it; the rest has what that had, or finds nobody at it.
    answers = await asyncio.wait_for(asyncio.gather(*others), 10)
    assert [answer.body for answer in answers] == [b"made"] * 3
    assert taken["free"] == 0
    await background.close()


async def test_a_call_whose_maker_gave_up_is_made() -> None:
    mine = store("taken", 7.0)
    answer, sent = await asked(mine, keyed())
    assert (answer.body, [each.body for each in sent]) == (b"end", [b"body"])


async def test_a_key_of_another_request_is_a_422() -> None:
    with pytest.raises(Conflict) as caught:
        await asked(store("taken", known="other"), keyed())
    assert caught.value.status == 422


async def test_a_first_call_that_does_not_end_is_a_409(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idempotency, "_GRACE", -0.99)
    with pytest.raises(Conflict) as caught:
        await asked(store("taken", known="taken"), keyed())
    assert caught.value.status == 409


async def test_a_claim_that_was_lost_while_the_body_came_makes_no_call(monkeypatch: pytest.MonkeyPatch) -> None:
    class Lost(LenientStore):
        async def renew(self, token_id: str, key: str, until: float, seconds: float) -> float | None:
            return None

    async def claim() -> float:
        return 7.0

    monkeypatch.setattr(idempotency, "_GRACE", -0.999)  # so that a claim lapses at once
    mine = Lost(claim=claim)
    with pytest.raises(Conflict) as caught:
        await asked(mine, keyed(Body(slow())))
    assert (caught.value.status, mine.settled) == (409, [None])


async def slow() -> AsyncIterator[bytes]:
    await asyncio.sleep(0.01)
    yield b"body"


async def test_a_call_without_a_key_is_made_each_time() -> None:
    answer, sent = await asked(store(), call("POST", body=b"body", route=ROUTE))
    assert (answer.body, len(sent)) == (b"end", 1)


@pytest.mark.parametrize("scripted", [b"whole", oo.testing.Streamed([b"wh", b"ole"])], ids=["whole", "stream"])
async def test_a_call_is_completed_for_a_caller_that_has_left(scripted: Any) -> None:
    mine, background, begun, go = store(7.0), Background(), asyncio.Event(), asyncio.Event()

    class Slow(oo.testing.MockTransport):
        async def send(self, request: oo.Request) -> oo.Response:
            begun.set()
            await go.wait()
            return await super().send(request)

    request, caller = keyed(), SimpleNamespace(is_held=False, has_left=False)
    gateway_context(request).caller = caller
    chain = Pipeline([Idempotency(mine, background)], Slow([scripted]), LoopIO())
    asking = asyncio.ensure_future(chain.handle(request))
    await begun.wait()
    assert caller.is_held
    caller.has_left = True
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert not caller.is_held
    await background.close()
    assert mine.settled == [StoredResponse(200, (), b"whole")]


async def test_a_call_that_is_still_under_way_when_the_gateway_stops_frees_its_key() -> None:
    mine, background, begun = store(7.0), Background(), asyncio.Event()

    class Endless(oo.testing.MockTransport):
        async def send(self, request: oo.Request) -> oo.Response:
            begun.set()
            await asyncio.sleep(PATIENCE)
            return await super().send(request)

    request = keyed()
    gateway_context(request).caller = SimpleNamespace(is_held=False, has_left=True)
    asking = asyncio.ensure_future(
        Pipeline([Idempotency(mine, background)], Endless([b"end"]), LoopIO()).handle(request)
    )
    await begun.wait()
    await background.close()
    assert (asking.cancelled(), mine.settled) == (True, [None])
