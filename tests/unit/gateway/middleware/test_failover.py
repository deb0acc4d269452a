from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

import oo
from oo._core.pipeline import Pipeline
from oo._http.body import Body
from oo.gateway.context import gateway_context
from oo.gateway.middleware.failover import Failover
from oo.gateway.models import Route, Upstream
from oo.gateway.upstream_choice import REST
from oo.middleware.retry import Retry
from oo.testing import MockTransport, Scripted, Streamed, VirtualClock
from tests.support.calls import call

A, B, C = "https://a.test", "https://b.test/base/", "https://c.test"
ROUTE = Route("r", A, others=(Upstream(B), Upstream(C)))


def unsent(reason: str = "connection") -> oo.DoubleOError:
    error = oo.DoubleOError("refused", reason=reason, retryable=True)
    error.unsent = True
    return error


def lost(reason: str = "connection") -> oo.DoubleOError:
    return oo.DoubleOError("lost", reason=reason, retryable=True)


class Site:
    """A chain whose upstreams answer by host."""

    def __init__(self, clock: VirtualClock | None = None, **answers: Scripted) -> None:
        self.answers = answers
        self.transport = MockTransport(lambda request: self.answers[request.url[8]])
        self.pipeline = Pipeline([Failover()], self.transport, clock or VirtualClock())

    async def ask(self, method: str = "GET", route: Route = ROUTE, **more: object) -> tuple[int | str, str]:
        """The status or the error, and who was asked in turn."""
        self.transport.requests.clear()
        request = call(method, route=route, **more).replace(url=f"{A}/v1/x?q=1", base_url=A)  # type: ignore[arg-type]
        try:
            said: int | str = (await self.pipeline.handle(request)).status
        except oo.DoubleOError as error:
            said = str(error)
        self.upstream = gateway_context(request).upstream
        return said, "".join(each.url[8] for each in self.transport.requests)


@pytest.mark.parametrize(
    ("route", "answers", "noted"),
    [
        (ROUTE, {"a": unsent(), "b": 503, "c": 200}, ["attempt", "connection", "attempt", 503, "attempt"]),
        (ROUTE, {"a": 200}, ["attempt"]),
        (Route("r", A), {"a": 200}, ["attempt"]),
    ],
)
@pytest.mark.parametrize("retries", [0, 1])
async def test_each_attempt_is_noted_once(
    route: Route, answers: dict[str, Scripted], noted: list[str | int], retries: int
) -> None:
    site = Site(**answers)
    chain = [Retry(retries), *site.pipeline.middleware] if retries else site.pipeline.middleware
    request = call("GET", route=route).replace(url=f"{A}/v1", base_url=A)
    await Pipeline(chain, site.transport, VirtualClock()).handle(request)
    ends = [200] if retries else []  # which Retry tells
    assert [what for what, _ in request.context.timeline] == noted + ends


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("reason", ["connection", "tls", "timeout"])
async def test_the_next_is_asked_where_no_connection_could_be_made(method: str, reason: str) -> None:
    site = Site(a=unsent(reason), b=201, c=202)
    assert await site.ask(method) == (201, "ab")
    assert site.transport.requests[1].url == "https://b.test/base/v1/x?q=1"
    assert site.upstream == B


@pytest.mark.parametrize(
    ("method", "key", "failure", "outcome"),
    [
        ("GET", None, 503, (200, "ab")),
        ("PUT", None, 500, (200, "ab")),
        ("POST", "k", 502, (200, "ab")),
        ("POST", None, 503, (503, "a")),
        ("GET", None, lost(), (200, "ab")),
        ("POST", "k", lost(), (200, "ab")),
        ("POST", None, lost(), ("lost", "a")),
        ("GET", None, lost("timeout"), ("lost", "a")),
        ("GET", None, lost("argument"), ("lost", "a")),
        ("GET", None, 429, (429, "a")),
        ("GET", None, 404, (404, "a")),
    ],
)
async def test_who_may_be_asked_twice_is_asked_elsewhere(
    method: str, key: str | None, failure: Scripted, outcome: tuple[int | str, str]
) -> None:
    assert await Site(a=failure, b=200, c=200).ask(method, key=key) == outcome


@pytest.mark.parametrize(("last", "said"), [(503, 503), (unsent(), "refused")])
async def test_where_all_fail_the_last_answers(last: Scripted, said: int | str) -> None:
    site = Site(a=unsent(), b=502, c=last)
    assert await site.ask() == (said, "abc")
    assert site.upstream == C


async def test_an_answer_that_is_given_up_is_left() -> None:
    busy = Streamed([b"busy"], 503)
    assert await Site(a=busy, b=200, c=200).ask() == (200, "ab")
    assert busy.left


async def pieces() -> AsyncIterator[bytes]:
    yield b"a"


@pytest.mark.parametrize(("failure", "asked"), [(unsent(), "ab"), (503, "a")])
async def test_a_body_that_has_begun_and_cannot_be_sent_again_is_not(failure: Scripted, asked: str) -> None:
    body = Body(pieces())

    def answer(request: oo.Request) -> Scripted:
        body.begun = body.begun or failure == 503
        return failure

    site = Site(b=200, c=200)
    site.transport = MockTransport(lambda request: answer(request) if request.url.startswith(A) else 200)
    site.pipeline = Pipeline([Failover()], site.transport, VirtualClock())
    assert (await site.ask("PUT", body=body))[1] == asked


async def test_the_weights_say_who_is_asked_first() -> None:
    site, route = Site(a=200, b=200), Route("r", A, weight=2, others=(Upstream(B),))
    assert [(await site.ask(route=route))[1] for _ in range(6)] == ["a", "b", "a", "a", "b", "a"]


async def test_one_that_fails_five_times_in_a_row_rests_for_ten_seconds() -> None:
    clock = VirtualClock()
    site, route = Site(clock, a=unsent(), b=200), Route("r", A, weight=1000, others=(Upstream(B),))
    assert [(await site.ask(route=route))[1] for _ in range(7)] == ["ab"] * 5 + ["b"] * 2
    clock.advance(9.9)
    assert (await site.ask(route=route))[1] == "b"
    clock.advance(0.2)
    site.answers["a"] = 200
    assert [(await site.ask(route=route))[1] for _ in range(3)] == ["a"] * 3


async def test_where_one_rests_and_the_others_fail_it_is_asked_all_the_same() -> None:
    site, route = Site(a=503, b=200), Route("r", A, weight=1000, others=(Upstream(B),))
    for _ in range(6):
        await site.ask(route=route)
    site.answers |= {"a": 200, "b": unsent()}
    assert await site.ask(route=route) == (200, "ba")


async def test_a_route_that_changes_begins_anew() -> None:
    site = Site(a=503, b=200, c=200)
    first, second = Route("r", A, others=(Upstream(B),)), Route("r", A, others=(Upstream(C),))
    for _ in range(10):
        await site.ask(route=first)
    assert await site.ask(route=second) == (200, "ac")


async def test_a_route_of_one_upstream_asks_that() -> None:
    site = Site(a=503)
    assert await site.ask(route=Route("r", A)) == (503, "a")
    assert site.upstream == A


async def test_what_goes_to_no_upstream_passes_as_it_is() -> None:
    site = Site(a=503)
    assert await site.ask(route=None, endpoint="secret") == (503, "a")  # type: ignore[arg-type]
    assert site.upstream is None


async def test_it_is_told_which_upstream_rests_and_when_it_answers_again() -> None:
    told: list[tuple[str, int, str, float]] = []
    failover, clock, status = Failover(lambda *rests: told.append(rests)), VirtualClock(), 502
    transport = MockTransport(lambda request: status if request.url[8] == "a" else 201)
    pipeline = Pipeline([failover], transport, clock)

    async def ask() -> None:
        for _ in range(20):
            await pipeline.handle(call(route=ROUTE).replace(url=f"{A}/x", base_url=A))

    await ask()
    assert told == [("r", 0, A, REST)]
    status = 200
    await clock.sleep(REST)
    await ask()
    assert told == [("r", 0, A, REST), ("r", 0, A, 0.0)]
