from __future__ import annotations

import asyncio
import time
from itertools import islice

import pytest

from oo.gateway.claims import Claim, Claims, pauses
from oo.gateway.errors import StoreError
from oo.gateway.models import Denial, StoredResponse
from oo.testing import Streamed
from tests.support.stores import LenientStore

RESULT = StoredResponse(200, (), b"x")
CALL = ("id", "k")
FENCE = b"fence"


def held(store: LenientStore, seconds: float = 60, asked: float | None = None) -> Claim:
    return Claim(store, CALL, FENCE, seconds, time.monotonic() if asked is None else asked)


@pytest.mark.parametrize("kept", [RESULT, None])
async def test_a_claim_ends_with_its_result(kept: StoredResponse | None) -> None:
    store = LenientStore()
    claim = held(store)
    assert await claim.bind(b"digest")
    await claim.complete(kept)
    assert (store.settled, claim.ended.done()) == ([kept or "made"], True)


async def test_a_claim_that_is_released_frees_its_key() -> None:
    store = LenientStore()
    claim = held(store)
    await claim.release()
    assert (store.settled, claim.ended.done()) == ([None], True)


class Renewing(LenientStore):
    """A store that notes what is renewed, and gives these."""

    def __init__(self, *given: bool | Exception) -> None:
        super().__init__()
        self.given = list(given)
        self.asked: list[bytes] = []
        self.ran_out = asyncio.Event()

    async def renew(self, token_id: str, key: str, fence: bytes, seconds: float) -> bool:
        self.asked.append(fence)
        found = self.given.pop(0)
        if not self.given:
            self.ran_out.set()
        if isinstance(found, Exception):
            raise found
        return found


async def test_a_claim_is_renewed_while_its_call_lasts() -> None:
    store = Renewing(True, StoreError("busy"), True, False)
    claim = held(store, 0.01)
    await asyncio.wait_for(store.ran_out.wait(), 10)
    await asyncio.sleep(0.02)
    # One that is somebody else's is not asked for again.
    assert store.asked == [FENCE] * 4
    await claim.release()


async def test_a_claim_that_ends_while_it_is_renewed_is_renewed_no_more() -> None:
    begun, go, ends, renewals = asyncio.Event(), asyncio.Event(), [], []

    class Slow(LenientStore):
        async def renew(self, token_id: str, key: str, fence: bytes, seconds: float) -> bool:
            renewals.append(fence)
            begun.set()
            await go.wait()
            return True

        async def release(self, token_id: str, key: str, fence: bytes) -> None:
            ends.append(fence)

    claim = held(Slow(), 0.01)
    await begun.wait()
    ending = asyncio.create_task(claim.release())
    await asyncio.sleep(0)
    go.set()
    await ending
    await asyncio.sleep(0.03)
    assert (ends, renewals) == ([FENCE], [FENCE])


@pytest.mark.parametrize(("given", "mine"), [(True, True), (False, False)])
async def test_one_that_may_have_lapsed_is_renewed_before_its_call_is_made(given: bool, mine: bool) -> None:
    store = Renewing(given)
    claim = held(store, asked=time.monotonic() - 50)
    assert await claim.bind(b"digest") is mine
    assert store.asked == [FENCE]
    await claim.release()


async def test_one_that_has_not_lapsed_costs_no_write() -> None:
    store = Renewing()
    claim = held(store)
    assert await claim.bind(b"digest")
    assert store.asked == []
    await claim.release()


class Full(LenientStore):
    """A store that has no room at first."""

    left = 2

    async def complete(
        self, token_id: str, key: str, fence: bytes, digest: bytes, response: StoredResponse | None
    ) -> None:
        self.left -= 1
        if self.left >= 0:
            raise StoreError("the disk is full")
        await super().complete(token_id, key, fence, digest, response)


async def test_a_call_that_was_made_is_held_until_that_is_noted(caplog: pytest.LogCaptureFixture) -> None:
    async def given() -> object:
        return FENCE

    store = Full(claim=given)
    claims = Claims(store)
    claim = await claims.take("t", *CALL, 60)
    assert isinstance(claim, Claim)
    await claim.complete(RESULT)  # its caller waits for no disk
    assert "was not kept: the disk is full" in caplog.text
    assert (claim.ended.done(), claims.holds(*CALL)) == (False, True)
    assert await claims.take("t", *CALL, 60) is None  # though the store would give it
    await asyncio.wait_for(claim.ended, 10)
    assert (store.settled, claims.holds(*CALL)) == (["made"], False)


async def test_a_key_that_cannot_be_freed_is_held_no_longer() -> None:
    class Gone(LenientStore):
        async def release(self, token_id: str, key: str, fence: bytes) -> None:
            raise StoreError("the disk is full")

    claim = held(Gone())
    await claim.release()
    assert claim.ended.done()


async def test_the_end_of_an_answer_that_flows_is_done_though_it_is_cancelled() -> None:
    begun, go = asyncio.Event(), asyncio.Event()

    class Slow(LenientStore):
        async def complete(
            self, token_id: str, key: str, fence: bytes, digest: bytes, response: StoredResponse | None
        ) -> None:
            begun.set()
            await go.wait()
            await super().complete(token_id, key, fence, digest, response)

    store, flowing = Slow(), StoredResponse(200, (), Streamed([b"x"]))
    ending = asyncio.create_task(held(store).complete(flowing))
    await begun.wait()
    ending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ending
    go.set()
    for _ in range(5):
        await asyncio.sleep(0)
    assert store.settled == [flowing]


def finding(found: object) -> LenientStore:
    async def claim() -> object:
        return found

    return LenientStore(claim=claim)


@pytest.mark.parametrize("found", ["taken", Denial("used up", "id")])
async def test_what_is_no_claim_is_told(found: str | Denial) -> None:
    got = await Claims(finding(found)).take("t", *CALL, 60)
    assert got == (None if found == "taken" else found)


async def test_whoever_waits_for_a_call_of_this_process_is_told_of_its_end() -> None:
    claims = Claims(finding(FENCE))
    claim = await claims.take("t", *CALL, 60)
    assert isinstance(claim, Claim)
    never = iter(())  # no pause is asked for
    waiting = [asyncio.create_task(claims.wait(*CALL, never, 60)) for _ in range(3)]
    await asyncio.sleep(0.01)
    assert not any(task.done() for task in waiting)
    await claim.release()
    await asyncio.wait_for(asyncio.gather(*waiting), 10)
    # It is nobody's by now.
    with pytest.raises(StopIteration):
        next(never)
    await claims.wait(*CALL, iter((0.0,)), 60)


async def test_nobody_waits_for_longer_than_told() -> None:
    claims = Claims(finding(FENCE))
    claim = await claims.take("t", *CALL, 60)
    assert isinstance(claim, Claim)
    await asyncio.wait_for(claims.wait(*CALL, iter(()), 0.01), 10)
    await asyncio.wait_for(claims.wait("id", "another process", iter((1000.0,)), 0.01), 10)
    await claim.release()


async def test_another_request_is_known_once_the_first_has_come() -> None:
    claims = Claims(finding(FENCE))
    claim = await claims.take("t", *CALL, 60)
    assert isinstance(claim, Claim)
    assert not claims.is_other(*CALL, b"another")
    await claim.bind(b"digest")
    assert [claims.is_other(*CALL, digest) for digest in (b"another", b"digest")] == [True, False]
    assert not claims.is_other("id", "unknown", b"another")
    await claim.release()


def test_pauses_grow_to_a_quarter_of_a_second_and_are_drawn() -> None:
    found = list(islice(pauses(), 100))
    longest = [0.01 * 2**n for n in range(5)] + [0.25] * 95
    assert all(most / 2 <= pause <= most for pause, most in zip(found, longest, strict=True))
    assert len(set(found)) > 90
