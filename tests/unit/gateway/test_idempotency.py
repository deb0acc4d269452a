from __future__ import annotations

import asyncio

import pytest

import oo
import oo.testing
from oo.gateway import idempotency
from oo.gateway.errors import Conflict
from oo.gateway.idempotency import claimed
from oo.gateway.models import StoredResponse
from tests.support.stores import LenientStore


async def test_what_was_kept_is_stored_and_else_the_key_is_freed() -> None:
    async def claim() -> float:
        return 7.0

    store = LenientStore(claim=claim)
    sent = oo.Request("POST", "http://x/")
    for status, recorded in ((200, True), (503, True), (200, False)):
        async with await claimed(store, "id", "k", b"call", 1) as mine:
            assert mine.result is None
            if recorded:
                mine.recorded(oo.Response(status, body=b"x", request=sent), [("X-A", "1")])
    assert store.settled == [StoredResponse(200, (("X-A", "1"),), b"x"), None, None]


@pytest.mark.parametrize("read", [True, False])
async def test_a_stream_is_stored_once_it_was_read_to_its_end(read: bool) -> None:
    async def claim() -> float:
        return 7.0

    store = LenientStore(claim=claim)
    stream = oo.testing.Streamed([b"one", b"two"])
    async with await claimed(store, "id", "k", b"call", 1) as mine:
        response = mine.recorded(oo.Response(200, request=oo.Request("POST", "http://x/"), stream=stream), [])
        assert response.stream is not None
        async for piece in response.stream:
            if not read and piece == b"one":
                break
        response.abort()
    assert store.settled == [StoredResponse(200, (), b"onetwo") if read else None]


async def test_a_call_that_fails_frees_its_key() -> None:
    async def claim() -> float:
        return 7.0

    store = LenientStore(claim=claim)
    with pytest.raises(ZeroDivisionError):
        async with await claimed(store, "id", "k", b"call", 1):
            raise ZeroDivisionError
    assert store.settled == [None]


async def test_a_claim_is_renewed_while_its_call_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    renewed = asyncio.Event()

    class Store(LenientStore):
        async def renew(self, token_id: str, key: str, until: float, seconds: float) -> float | None:
            assert until == 7.0
            renewed.set()
            return None

    async def claim() -> float:
        return 7.0

    monkeypatch.setattr(idempotency, "_GRACE", 0.0)
    async with await claimed(Store(claim=claim), "id", "k", b"call", 0.01):
        await asyncio.wait_for(renewed.wait(), 10)


async def test_a_stored_result_is_replayed() -> None:
    async def claim() -> StoredResponse:
        return StoredResponse(201, (), b"first")

    found = await claimed(LenientStore(claim=claim), "id", "k", b"call", 1)
    assert found.result == StoredResponse(201, (), b"first")


async def test_a_key_of_another_request_is_a_422() -> None:
    async def claim() -> str:
        return "other"

    with pytest.raises(Conflict) as caught:
        await claimed(LenientStore(claim=claim), "id", "k", b"call", 1)
    assert caught.value.status == 422


async def test_a_claim_that_comes_after_its_caller_left_is_given_back() -> None:
    begun, go = asyncio.Event(), asyncio.Event()

    async def claim() -> float:
        begun.set()
        await go.wait()
        return 7.0

    store = LenientStore(claim=claim)
    asking = asyncio.create_task(claimed(store, "id", "k", b"call", 1))
    await begun.wait()
    asking.cancel()
    await asyncio.sleep(0)
    assert store.settled == []
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert store.settled == [None]


async def test_a_first_call_that_does_not_end_is_a_409(monkeypatch: pytest.MonkeyPatch) -> None:
    async def claim() -> str:
        return "taken"

    monkeypatch.setattr(idempotency, "_GRACE", 0.0)
    with pytest.raises(Conflict) as caught:
        await claimed(LenientStore(claim=claim), "id", "k", b"call", 0.01)
    assert caught.value.status == 409
