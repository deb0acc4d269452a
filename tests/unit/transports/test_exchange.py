"""Exchange: what is left of its time, and when it may be repeated."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from oo._client.operations import ClientContext
from oo._http.body import Body
from oo._http.headers import Headers
from oo._http.request import Request
from oo.transports.exchange import Exchange, is_repeatable


def request(method: str = "GET", body: Any = None, **headers: str) -> Request:
    fields = Headers([(name.replace("_", "-"), value) for name, value in headers.items()])
    return Request(method, "http://h/", fields, body, context=ClientContext("proxy", lambda response: response))


def flowing(replayable: bool, begun: bool) -> Body:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"x"

    body = Body(pieces if replayable else pieces())
    body.begun = begun
    return body


@pytest.mark.parametrize(
    ("of", "repeatable"),
    [
        (request("GET"), True),
        (request("HEAD"), True),
        (request("OPTIONS"), True),
        (request("PUT"), False),
        (request("DELETE"), False),
        (request("POST", b"x"), False),
        (request("POST", b"x", Idempotency_Key="k"), True),
        (request("POST", b"x", idempotency_key="k"), True),
        (request("GET", flowing(False, True)), False),
        (request("GET", flowing(False, False)), True),
        (request("GET", flowing(True, True)), True),
    ],
)
def test_what_may_be_sent_twice(of: Request, repeatable: bool) -> None:
    assert is_repeatable(of) is repeatable


@pytest.mark.parametrize("reused", [True, False])
@pytest.mark.parametrize("answered", [True, False])
def test_a_kept_connection_without_an_answer_is_renewed_once(reused: bool, answered: bool) -> None:
    exchange, sent = Exchange(1e9), request()
    exchange.reused, exchange.answered = reused, answered
    assert exchange.renew(sent, time.monotonic()) is (reused and not answered)
    exchange.reused = True
    assert not (exchange.renew(sent, time.monotonic()) and reused and not answered)


def test_the_timeline_tells_of_it() -> None:
    exchange, sent = Exchange(1e9), request()
    sent.context.timeline.append(("attempt", 2.0))
    exchange.reused = True
    assert exchange.renew(sent, time.monotonic() - 1)
    what, seconds = sent.context.timeline[-1]
    assert (what, 3 <= seconds < 13) == ("resent", True)


def test_time_that_is_up_is_an_error() -> None:
    assert 0 < Exchange(time.monotonic() + 9).left() <= 9
    with pytest.raises(TimeoutError):
        Exchange(time.monotonic()).left()
