from __future__ import annotations

import asyncio

import pytest

import oo
from oo.gateway import upstream
from oo.gateway.context import GatewayContext
from oo.gateway.headers import upstream_request
from oo.gateway.middleware.inject import InjectCredentials
from oo.gateway.middleware.mask import MaskResponse
from oo.gateway.middleware.whole_answers import WholeAnswers
from oo.gateway.models import Route
from oo.gateway.upstream import Upstreams
from tests.support.stores import LenientStore


def request(url: str, allow_private: bool) -> oo.Request:
    return upstream_request(Route("r", url, allow_private=allow_private), "GET", "x", (), None, GatewayContext())


async def test_each_chain_masks_around_what_injects() -> None:
    upstreams = Upstreams(LenientStore())
    for pipeline in upstreams._pipelines.values():
        assert [type(each) for each in pipeline.middleware] == [MaskResponse, WholeAnswers, InjectCredentials]
    await upstreams.close()


async def test_a_private_address_is_looked_at_before_anything_is_sent() -> None:
    upstreams = Upstreams(LenientStore())
    with pytest.raises(oo.DoubleOError, match="its address is private"):
        await upstreams.handle(request("http://127.0.0.1:9", allow_private=False))
    with pytest.raises(oo.DoubleOError) as caught:
        await upstreams.handle(request("http://127.0.0.1:9", allow_private=True))
    assert caught.value.reason == "connection"
    await upstreams.close()


async def test_what_must_be_completed_is_whoever_stops_waiting() -> None:
    upstreams, go, ended = Upstreams(LenientStore()), asyncio.Event(), asyncio.Event()

    async def call() -> str:
        await go.wait()
        ended.set()
        return "done"

    waiting = asyncio.create_task(upstreams.run_to_completion(call()))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    go.set()
    await asyncio.wait_for(ended.wait(), 10)
    assert await upstreams.run_to_completion(call()) == "done"
    await upstreams.close()


async def test_a_failure_reaches_whoever_waits() -> None:
    async def fails() -> None:
        raise ZeroDivisionError

    upstreams = Upstreams(LenientStore())
    with pytest.raises(ZeroDivisionError):
        await upstreams.run_to_completion(fails())
    await upstreams.close()


async def test_closing_waits_a_moment_and_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream, "_GRACE", 0.01)
    upstreams, cancelled = Upstreams(LenientStore()), asyncio.Event()

    async def endless() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    waiting = asyncio.create_task(upstreams.run_to_completion(endless()))
    await asyncio.sleep(0)
    await upstreams.close()
    assert cancelled.is_set()
    with pytest.raises(asyncio.CancelledError):
        await waiting
