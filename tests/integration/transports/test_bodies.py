"""Request bodies that flow, in both worlds: what goes over the wire, what is sent again, and what a failure becomes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

import oo
from oo._http.body import Body
from tests.support.faults import CLOSE, GOOD, READ, answer, serving
from tests.support.worlds import World

TOKEN = "a-token-for-bodies"
BUSY = answer(b"{}", status=b"503 Service Unavailable")


async def pieces(*parts: bytes | Exception) -> AsyncIterator[bytes]:
    for part in parts:
        if isinstance(part, Exception):
            raise part
        yield part


def sender(world: World, url: str, make: Callable[[], Body], **settings: Any) -> tuple[Any, list[Body]]:
    """A client whose calls carry the body, and the bodies that were made."""
    made: list[Body] = []

    async def carry(request: oo.Request, call_next: oo.CallNext) -> oo.Response:
        made.append(make())
        return await call_next(request.replace(body=made[-1]))

    chain = [carry, *oo.default_middleware(backoff_factor=0.0, **settings)]
    return world.client(url, middleware=chain), made


def test_a_body_of_known_length_goes_with_that_length(world: World) -> None:
    with serving() as server:
        client, made = sender(world, server.url, lambda: Body(pieces(b"ab", b"", b"c"), length=3))
        assert client.proxy("v1/x", TOKEN)["value"]
    assert server.requests[0].endswith(b"\r\n\r\nabc")
    assert b"\r\ncontent-length: 3\r\n" in server.requests[0].lower()
    assert made[0].outcome == "complete"


def test_a_body_of_unknown_length_goes_in_chunks_as_it_comes(world: World) -> None:
    with serving() as server:
        client, made = sender(world, server.url, lambda: Body(pieces(b"ab", b"", b"c")))
        assert client.proxy("v1/x", TOKEN)["value"]
    assert server.requests[0].endswith(b"\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n")
    assert b"content-length" not in server.requests[0].lower()
    assert made[0].outcome == "complete"


@pytest.mark.parametrize("replayable", [True, False])
def test_only_what_can_be_replayed_is_sent_again(world: World, replayable: bool) -> None:
    def make() -> Body:
        return Body(lambda: pieces(b"abc"), length=3) if replayable else Body(pieces(b"abc"), length=3)

    with serving([READ, BUSY]) as server:
        client, _ = sender(world, server.url, make, retries=2)
        if replayable:
            assert client.proxy("v1/x", TOKEN)["value"]
        else:
            with pytest.raises(oo.ProxyError) as caught:
                client.proxy("v1/x", TOKEN)
            assert (caught.value.status, caught.value.attempts) == (503, 1)
    assert [request[-3:] for request in server.requests] == [b"abc"] * (1 + replayable)


def test_what_nobody_has_asked_for_is_sent_again_all_the_same(world: World) -> None:
    async def refuse(request: oo.Request, call_next: oo.CallNext) -> oo.Response:
        if request.context.attempts == 1:
            raise oo.DoubleOError("not yet", reason="connection", retryable=True)
        return await call_next(request)

    with serving() as server:
        body = Body(pieces(b"abc"), length=3)

        async def carry(request: oo.Request, call_next: oo.CallNext) -> oo.Response:
            return await call_next(request.replace(body=body))

        chain = [carry, oo.Retry(2, 0.0), oo.ErrorMapping(), refuse, oo.BearerAuth()]
        assert world.client(server.url, middleware=chain).proxy("v1/x", TOKEN)["value"]
    assert [request[-3:] for request in server.requests] == [b"abc"]


@pytest.mark.parametrize("failure", [ValueError("a"), OSError("b"), KeyError("c"), RuntimeError("d")])
def test_a_body_that_cannot_be_read_is_nobodys_network(world: World, failure: Exception) -> None:
    with serving() as server:
        client, made = sender(world, server.url, lambda: Body(pieces(b"a", failure), length=3), retries=2)
        with pytest.raises(oo.ProxyError, match=f"body could not be read: {type(failure).__name__}") as caught:
            client.proxy("v1/x", TOKEN)
    assert (caught.value.reason, caught.value.attempts, caught.value.__cause__) == ("body", 1, failure)
    assert made[0].outcome == "failed"


@pytest.mark.parametrize("parts", [(b"ab",), (b"ab", b"cd")], ids=["fewer", "more"])
def test_a_body_of_another_length_than_it_says_is_refused(world: World, parts: tuple[bytes, ...]) -> None:
    with serving() as server:
        client, _ = sender(world, server.url, lambda: Body(pieces(*parts), length=3), retries=2)
        with pytest.raises(oo.ProxyError, match="as many bytes as its length says") as caught:
            client.proxy("v1/x", TOKEN)
    assert (caught.value.reason, caught.value.attempts) == ("body", 1)


def test_the_client_goes_on_after_a_body_that_failed(world: World) -> None:
    bodies = iter([Body(pieces(b"a", ValueError("x"))), Body(pieces(b"abc"))])
    with serving([READ, CLOSE], [READ, GOOD]) as server:
        client, _ = sender(world, server.url, lambda: next(bodies))
        with pytest.raises(oo.ProxyError, match="body could not be read"):
            client.proxy("v1/x", TOKEN)
        assert client.proxy("v1/x", TOKEN)["value"]
