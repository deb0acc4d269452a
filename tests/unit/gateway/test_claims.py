from __future__ import annotations

import asyncio

import pytest

from oo.gateway.claims import Claim, claimed
from oo.gateway.errors import StoreError
from oo.gateway.models import Denial, StoredResponse
from tests.support.stores import LenientStore

RESULT = StoredResponse(200, (), b"x")


@pytest.mark.parametrize("kept", [RESULT, None])
async def test_a_claim_ends_with_its_result_or_frees_its_key(kept: StoredResponse | None) -> None:
    store = LenientStore()
    claim = Claim(store, "id", "k", 7.0, 60)
    assert await claim.bind(b"digest")
    await claim.end(kept)
    assert store.settled == [kept]


async def test_a_claim_is_renewed_while_its_call_lasts() -> None:
    renewed = asyncio.Event()

    class Store(LenientStore):
        async def renew(self, token_id: str, key: str, until: float, seconds: float) -> float | None:
            assert until == 7.0
            renewed.set()
            return None

    claim = Claim(Store(), "id", "k", 7.0, 0.01)
    await asyncio.wait_for(renewed.wait(), 10)
    await claim.end(None)


async def test_a_result_that_cannot_be_kept_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    class Full(LenientStore):
        async def complete(self, token_id: str, key: str, until: float, response: StoredResponse) -> None:
            raise StoreError("the disk is full")

    await Claim(Full(), "id", "k", 7.0, 60).end(RESULT)
    assert "was not kept: the disk is full" in caplog.text


async def test_an_end_that_is_cancelled_is_done_all_the_same() -> None:
    store = LenientStore()
    ending = asyncio.create_task(Claim(store, "id", "k", 7.0, 60).end(RESULT))
    await asyncio.sleep(0)
    ending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ending
    for _ in range(5):
        await asyncio.sleep(0)
    assert store.settled == [RESULT]


@pytest.mark.parametrize("found", ["taken", Denial("used up", "id")])
async def test_what_is_no_claim_is_told(found: str | Denial) -> None:
    async def claim() -> str | Denial:
        return found

    got = await claimed(LenientStore(claim=claim), "t", "id", "k", 60)
    assert got == (None if found == "taken" else found)


async def test_a_claim_that_comes_after_its_caller_left_is_given_back() -> None:
    begun, go = asyncio.Event(), asyncio.Event()

    async def claim() -> float:
        begun.set()
        await go.wait()
        return 7.0

    store = LenientStore(claim=claim)
    asking = asyncio.create_task(claimed(store, "t", "id", "k", 60))
    await begun.wait()
    asking.cancel()
    await asyncio.sleep(0)
    assert store.settled == []
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert store.settled == [None]
