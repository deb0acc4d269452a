from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

import oo
from oo._core.pipeline import Pipeline
from oo._http.body import Body
from oo.gateway.middleware.resilience import Resilience, is_repeatable
from oo.gateway.models import Route
from oo.testing import MockTransport, Streamed, VirtualClock
from tests.support.calls import call

ROUTE = Route("r", "https://api.test", retries=2)


async def tried(
    request: oo.Request, *script: object, by: Resilience | None = None
) -> tuple[oo.Response, int, list[float]]:
    """The answer, how many requests were sent, and how long was waited between them."""
    clock, transport = VirtualClock(), MockTransport(script)  # type: ignore[arg-type]
    answer = await Pipeline([by or Resilience()], transport, clock).handle(request)
    return answer, len(transport.requests), clock.sleeps


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("failure", [503, 500, 429, 408, oo.DoubleOError("x", reason="connection", retryable=True)])
async def test_an_idempotent_call_is_tried_again(method: str, failure: int | oo.DoubleOError) -> None:
    answer, sent, waits = await tried(call(method, route=ROUTE), failure, failure, 200)
    assert (answer.status, sent, len(waits)) == (200, 3, 2)


async def test_a_keyed_call_is_tried_again_under_its_key_and_no_other_is() -> None:
    header = ("Idempotency-Key", "k")
    clock, transport = VirtualClock(), MockTransport([503, 200])
    await Pipeline([Resilience()], transport, clock).handle(call("POST", "/x", header, route=ROUTE, key="k"))
    assert [request.headers.pairs() for request in transport.requests] == [(header,)] * 2
    answer, sent, _ = await tried(call("POST", route=ROUTE), 503)
    assert (answer.status, sent) == (503, 1)


@pytest.mark.parametrize("retries", [0, 1, 2])
async def test_the_last_answer_is_the_callers(retries: int) -> None:
    route = Route("r", "https://api.test", retries=retries)
    script = [Streamed([b"no"], 503) for _ in range(retries + 1)]
    answer, sent, _ = await tried(call(route=route), *script)
    assert (answer.status, sent, (await answer.buffered()).body) == (503, retries + 1, b"no")
    assert [body.outcome for body in script] == ["left"] * retries + ["complete"]


@pytest.mark.parametrize("status", [200, 304, 400, 401, 404, 409, 501, 505])
async def test_what_would_be_the_same_again_is_not_asked_again(status: int) -> None:
    answer, sent, _ = await tried(call(route=ROUTE), status)
    assert (answer.status, sent) == (status, 1)


@pytest.mark.parametrize(
    ("header", "waits"), [(("Retry-After", "7"), [7]), (("retry-after-ms", "250"), [0.25]), (("Retry-After", "61"), [])]
)
async def test_the_upstreams_word_on_the_wait_is_kept_to(header: tuple[str, str], waits: list[float]) -> None:
    busy = oo.Response(429, oo.Headers([header]), b"later", request=call())
    answer, sent, slept = await tried(call(route=ROUTE), busy, 200)
    assert (slept, sent, answer.status) == (waits, len(waits) + 1, 200 if waits else 429)


@pytest.mark.parametrize("reason", ["argument", "protocol", "closed"])
async def test_an_error_that_stays_is_raised_at_once(reason: str) -> None:
    with pytest.raises(oo.DoubleOError):
        await tried(call(route=ROUTE), oo.DoubleOError("x", reason=reason))


async def test_an_error_after_an_answer_is_raised_and_the_answer_left() -> None:
    busy = Streamed([b"no"], 503)
    with pytest.raises(oo.DoubleOError, match="gone"):
        await tried(call(route=ROUTE), busy, oo.DoubleOError("gone", reason="tls"))
    assert busy.left


async def pieces() -> AsyncIterator[bytes]:
    yield b"a"


@pytest.mark.parametrize("again", [True, False])
async def test_a_body_that_cannot_be_sent_again_is_not(again: bool) -> None:
    body = Body(pieces if again else pieces())
    sent = 0

    async def reading(request: oo.Request, _next: oo.CallNext) -> oo.Response:
        nonlocal sent
        sent += 1
        assert isinstance(request.body, Body)
        assert [piece async for piece in request.body] == [b"a"]
        return oo.Response(503, request=request)

    pipeline = Pipeline([Resilience(), reading], MockTransport([]), VirtualClock())
    answer = await pipeline.handle(call("PUT", route=ROUTE, body=body))
    assert (answer.status, sent) == (503, 3 if again else 1)


def test_what_may_be_repeated() -> None:
    begun = Body(pieces())
    begun.begun = True
    assert is_repeatable(call("GET", body=b"x"))
    assert is_repeatable(call("PUT", body=Body(pieces())))
    assert is_repeatable(call("POST", key="k"))
    assert not is_repeatable(call("POST"))
    assert not is_repeatable(call("PATCH", body=b"x"))
    assert not is_repeatable(call("GET", body=begun))


async def test_each_route_has_a_budget_of_its_own() -> None:
    resilience, other = Resilience(), Route("other", "https://other.test", retries=2)
    for _ in range(60):
        await tried(call(route=ROUTE), 503, 503, 503, by=resilience)
    assert (await tried(call(route=ROUTE), 503, by=resilience))[1] == 1
    assert (await tried(call(route=other), 503, 200, by=resilience))[1] == 2


async def test_what_goes_to_no_upstream_passes_as_it_is() -> None:
    answer, sent, _ = await tried(call(endpoint="secret"), 503)
    assert (answer.status, sent) == (503, 1)
