from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

import oo
from oo._core.io import LoopIO
from oo._http.body import Body
from oo.gateway.background import Background
from oo.gateway.middleware.call_tools import CallTools, Workshop
from oo.gateway.models import Route
from oo.testing import MockTransport
from tests.support.calls import call
from tests.support.stores import LenientStore


class Versions(LenientStore):
    """A store that notes what is put."""

    def __init__(self) -> None:
        super().__init__()
        self.put: list[tuple[str, str]] = []

    async def put_secret(self, name: str, value: str) -> int:
        self.put.append((name, value))
        return 2


def tools(
    transport: MockTransport | None = None, store: LenientStore | None = None, **route: bool
) -> tuple[CallTools, oo.Request]:
    request = call(route=Route("r", "https://example.com", **route), hidden=set())
    shop = Workshop(store or LenientStore(), transport or MockTransport([]), Background())
    return CallTools(request, shop, LoopIO()), request


async def test_what_is_sent_is_a_call_of_its_own_of_the_same_route() -> None:
    transport = MockTransport([{"a": 1}])
    made, request = tools(transport)
    sent = oo.Request("POST", "https://login.example.com/token?x=1", base_url="elsewhere", stream_response=True)
    assert (await made.send(sent)).json() == {"a": 1}
    (came,) = transport.requests
    assert came.context is not request.context
    assert came.context.route is request.context.route  # type: ignore[attr-defined]  # a gateway's
    assert (came.url, came.base_url) == ("https://login.example.com/token?x=1", "https://login.example.com/token")
    assert came.stream_response is False


async def test_nothing_is_sent_in_clear_unless_the_route_allows_it() -> None:
    url = "http://login.example.com/token"
    transport = MockTransport([{}, {}])
    with pytest.raises(oo.DoubleOError, match="plain http"):
        await tools(transport)[0].send(oo.Request("POST", url))
    await tools(transport, allow_plain_http=True)[0].send(oo.Request("POST", url))
    await tools(transport)[0].send(oo.Request("POST", "http://127.0.0.1:1/token"))
    assert [request.url for request in transport.requests] == [url, "http://127.0.0.1:1/token"]


async def test_the_rest_of_the_tools_do_what_they_say() -> None:
    store = Versions()
    made, request = tools(store=store)
    made.hide(["a-value"])
    await made.store_version("name", "value")
    assert request.context.hidden == {"a-value"}  # type: ignore[attr-defined]  # as above
    assert store.put == [("name", "value")]
    assert abs(made.now() - time.time()) < 60


@pytest.mark.parametrize("allow_weak", [True, False])
async def test_whether_short_values_may_be_used_is_the_routes_to_say(allow_weak: bool) -> None:
    assert tools(allow_weak=allow_weak)[0].allow_weak is allow_weak


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (oo.DoubleOError("late", reason="deadline"), "deadline"),
        (oo.DoubleOError("lost", reason="connection"), "status"),
        (oo.DoubleOError("slow", reason="timeout"), "status"),
    ],
)
async def test_what_fails_there_is_no_failure_of_the_upstream(error: oo.DoubleOError, reason: str) -> None:
    made, _ = tools(MockTransport([error]))
    with pytest.raises(oo.DoubleOError, match=str(error)) as caught:
        await made.send(oo.Request("POST", "https://login.example.com/token"))
    assert caught.value.reason == reason


async def test_work_goes_on_where_whoever_waits_leaves() -> None:
    made, _ = tools()
    done, go = asyncio.Event(), asyncio.Event()

    async def work() -> str:
        await go.wait()
        done.set()
        return "done"

    waiting = asyncio.create_task(made.complete(work()))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    go.set()
    await asyncio.wait_for(done.wait(), 10)
    assert await made.complete(work()) == "done"


@pytest.mark.parametrize("size", [0, 1, 1 << 20, (1 << 20) + 1, 3 << 20])
async def test_a_spooled_body_can_be_read_twice(size: int) -> None:
    data = bytes(range(256)) * (size // 256) + b"x" * (size % 256)

    async def pieces() -> AsyncIterator[bytes]:
        for at in range(0, size, 50_000):
            yield data[at : at + 50_000]

    made, _ = tools()
    spooled = await made.spool(Body(pieces()))
    assert (spooled.replayable, spooled.length) == (True, size)
    for _ in range(2):
        assert b"".join([piece async for piece in spooled]) == data
