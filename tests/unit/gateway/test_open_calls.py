from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial

import pytest

import oo
from oo._http.body import Body
from oo.gateway import open_calls
from oo.gateway.context import gateway_context
from oo.gateway.errors import StoreError
from oo.gateway.models import Denial, Grant, Kind
from oo.gateway.open_calls import OpenCall, OpenCalls, OpenTunnel
from tests.support.calls import call
from tests.support.stores import LenientStore
from tests.support.streams import pieces
from tests.support.waiting import PATIENCE

REVOKED = Denial("revoked", "id")


class Asked(LenientStore):
    """A store that denies some tokens, and notes which it was asked about."""

    def __init__(self, **denials: Denial | StoreError) -> None:
        super().__init__()
        self.denials = denials
        self.tokens: list[str] = []

    async def opens(self, token: str, kind: Kind) -> Grant | Denial:
        self.tokens.append(token)
        found = self.denials.get(token)
        if isinstance(found, StoreError):
            raise found
        return found or Grant("id", kind, "r")


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_calls, "_INTERVAL", 0.01)


def open_call(token: str, task: asyncio.Task[object] | None = None) -> OpenCall:
    return OpenCall(gateway_context(call(token=token)), task)


async def until_ended(*calls: OpenCall) -> None:
    async def waiting() -> None:
        while not all(each.context.ended for each in calls):
            await asyncio.sleep(0.01)

    await asyncio.wait_for(waiting(), PATIENCE)


async def test_the_calls_of_a_token_that_opens_nothing_any_more_end_and_no_others() -> None:
    store = Asked(gone=REVOKED, late=Denial("expired", "id"), broken=StoreError("no"))
    calls = OpenCalls(store)
    ended = [open_call("gone"), open_call("gone"), open_call("late"), open_call("broken")]
    others, left = [open_call("good") for _ in range(200)], open_call("gone")
    for each in (*ended, *others, left):
        calls.add(each)
    calls.discard(left)
    await until_ended(*ended)
    assert [each.context.ended for each in ended] == ["revoked", "revoked", "expired", "unavailable"]
    assert {each.context.ended for each in (*others, left)} == {None}
    await calls.close()


async def test_a_token_is_asked_about_once_however_many_its_calls_are() -> None:
    store = Asked()
    calls = OpenCalls(store)
    for number in range(1000):
        calls.add(open_call(f"t{number % 100}"))
    await calls._look()
    assert len(store.tokens) == 100
    await calls.close()


async def test_a_call_that_has_ended_is_asked_about_no_longer() -> None:
    store = Asked()
    calls, ended = OpenCalls(store), open_call("a")
    calls.add(ended)
    calls.discard(ended)
    calls.discard(ended)
    await calls._look()
    assert store.tokens == []
    await calls.close()
    await OpenCalls(store).close()


async def test_the_task_of_a_call_without_a_response_is_cancelled() -> None:
    task: asyncio.Task[object] = asyncio.create_task(asyncio.sleep(PATIENCE))
    open_call("a", task).end(REVOKED)
    with pytest.raises(asyncio.CancelledError):
        await task
    open_call("a").end(REVOKED)  # no task: nothing to cancel


async def test_a_tunnel_is_left_once_its_token_opens_nothing() -> None:
    left: list[str] = []
    calls = OpenCalls(Asked(gone=REVOKED))
    for token in ("gone", "good"):
        calls.add(OpenTunnel(open_call(token).context, partial(left.append, token)))
    for _ in range(2):
        await calls._look()
    assert left == ["gone"]
    await calls.close()


@pytest.mark.parametrize("known", [True, False], ids=["a caller's connection", "none"])
async def test_a_response_is_broken_off_on_both_sides(known: bool) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"piece"

    aborted: list[str] = []
    ending = open_call("a")
    if known:
        ending.context.hang_up = lambda: aborted.append("caller")
    stream = Body(endless(), abort=lambda: aborted.append("upstream"))
    ending.response = oo.Response(200, request=call(), stream=stream)
    ending.end(REVOKED)
    assert aborted == (["upstream", "caller"] if known else ["upstream"])
    assert stream.outcome == "left"


async def test_a_call_that_cannot_be_ended_keeps_no_other_from_it(caplog: pytest.LogCaptureFixture) -> None:
    def canary() -> None:
        raise RuntimeError("canary")

    calls, stuck, other = OpenCalls(Asked(gone=REVOKED, late=REVOKED)), open_call("gone"), open_call("late")
    stuck.response = oo.Response(200, request=call(), stream=Body(pieces(b"x"), abort=canary))
    calls.add(stuck)
    await until_ended(stuck)
    calls.add(other)
    await until_ended(other)
    await calls.close()
    assert caplog.messages == ["ending a call failed: RuntimeError"]
