from __future__ import annotations

import time
from email.utils import formatdate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import oo
from oo._core.errors import retry_after
from oo.testing import MockTransport
from tests.support.worlds import World

TOKEN = "a-token-for-retries"
URL = "http://localhost:3001"
GOOD = {"value": "v"}


def lost(reason: str = "connection", retryable: bool = True) -> oo.DoubleOError:
    return oo.DoubleOError("gone", reason=reason, retryable=retryable)


def busy(after: str, status: int = 503) -> Any:
    headers = oo.Headers({"Retry-After": after})
    return lambda request: oo.Response(status, headers, b"{}", request=request)


def retrying(world: World, *answers: Any, deadline: float | None = None, **settings: Any) -> Any:
    script = iter(answers)

    def answer(request: oo.Request) -> Any:
        scripted = next(script)
        return scripted(request) if callable(scripted) else scripted

    clock = world.clock()
    transport = MockTransport(answer, io=clock)
    settings.setdefault("retries", 3)
    chain = [oo.Retry(**settings), oo.ErrorMapping(), oo.BearerAuth()]
    return world.client(URL, middleware=chain, transport=transport, deadline=deadline), transport, clock


def test_there_are_no_retries_unless_asked_for(world: World) -> None:
    client, transport, _ = retrying(world, 503, GOOD, retries=0)
    with pytest.raises(oo.SecretError) as caught:
        client.get_secret(TOKEN)
    assert (caught.value.status, caught.value.attempts) == (503, 1)
    assert oo.Retry().retries == 0


def test_waits_follow_the_schedule_with_up_to_a_quarter_more(world: World) -> None:
    client, transport, clock = retrying(world, 503, 503, 503, GOOD)
    assert client.get_secret(TOKEN) == "v"
    assert len(clock.sleeps) == 3
    for slept, wait in zip(clock.sleeps, (0.5, 1, 2), strict=True):
        assert wait <= slept <= wait * 1.25


def test_waits_are_capped(world: World) -> None:
    client, _, clock = retrying(world, *[503] * 9, GOOD, retries=9, jitter=0)
    client.get_secret(TOKEN)
    assert clock.sleeps == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


@pytest.mark.parametrize(
    "failure", [lost(), lost("timeout"), 408, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529, 599]
)
def test_what_may_pass_is_retried(world: World, failure: Any) -> None:
    client, transport, _ = retrying(world, failure, GOOD)
    assert client.get_secret(TOKEN) == "v"
    assert len(transport.requests) == 2


@pytest.mark.parametrize(
    "failure",
    [lost("tls", False), lost("protocol", False), b"junk", {"error": "x"}, 301, 400, 401, 403, 404, 409, 422, 501, 505],
)
def test_what_will_not_pass_is_not_retried(world: World, failure: Any) -> None:
    client, transport, clock = retrying(world, failure, GOOD)
    with pytest.raises(oo.DoubleOError) as caught:
        client.get_secret(TOKEN)
    assert (len(transport.requests), clock.sleeps, caught.value.attempts) == (1, [], 1)


def test_the_error_of_the_last_attempt_tells_how_many_there_were(world: World) -> None:
    client, transport, _ = retrying(world, *[503] * 4)
    with pytest.raises(oo.SecretError) as caught:
        client.get_secret(TOKEN)
    assert (caught.value.attempts, len(transport.requests)) == (4, 4)


def test_retry_after_is_kept_to_where_it_is_longer_than_the_schedule(world: World) -> None:
    client, _, clock = retrying(world, busy("7"), busy("1.5"), busy("60", 429), GOOD)
    assert client.get_secret(TOKEN) == "v"
    assert clock.sleeps == [7, 1.5, 60]


@pytest.mark.parametrize("after", ["0", "1", "Wed, 21 Oct 2015 07:28:00 GMT"])
def test_retry_after_never_shortens_the_schedule_and_leaves_its_jitter(world: World, after: str) -> None:
    client, _, clock = retrying(world, *[busy(after)] * 3, GOOD, backoff_factor=2)
    assert client.get_secret(TOKEN) == "v"
    for slept, wait in zip(clock.sleeps, (2, 4, 8), strict=True):
        assert wait < slept <= wait * 1.25


@pytest.mark.parametrize(
    ("milliseconds", "after", "waits"),
    [
        ("30", None, 0.03),
        (" 1500.5 ", "20", 1.5005),
        ("0", None, 0.5),
        ("0", "7", 7),
        ("-5", None, 0.5),
        ("soon", "7", 7),
        ("60000", None, 60),
        ("60001", None, None),
    ],
)
def test_retry_after_ms_is_kept_to_as_given(
    world: World, milliseconds: str, after: str | None, waits: float | None
) -> None:
    headers = oo.Headers({"retry-after-ms": milliseconds, **({"Retry-After": after} if after else {})})
    client, _, clock = retrying(
        world, lambda request: oo.Response(429, headers, b"{}", request=request), GOOD, jitter=0
    )
    if waits is None:
        with pytest.raises(oo.SecretError):
            client.get_secret(TOKEN)
    else:
        assert client.get_secret(TOKEN) == "v"
    assert clock.sleeps == ([] if waits is None else [pytest.approx(waits)])


def test_a_retry_after_that_is_too_long_ends_the_call(world: World) -> None:
    client, transport, _ = retrying(world, busy("61"), GOOD)
    with pytest.raises(oo.SecretError) as caught:
        client.get_secret(TOKEN)
    assert (caught.value.retry_after, len(transport.requests)) == (61, 1)


@pytest.mark.parametrize("junk", ["-1", "NaN", "1e999", "soon", "", "0x10", "9" * 40])
def test_a_retry_after_that_is_none_is_left_aside(world: World, junk: str) -> None:
    client, _, clock = retrying(world, busy(junk), GOOD, jitter=0)
    assert client.get_secret(TOKEN) == "v"
    assert clock.sleeps == [0.5]


def test_a_retry_after_may_be_a_date() -> None:
    now = 1_800_000_000.0
    assert retry_after(formatdate(now + 30, usegmt=True), now) == 30
    assert retry_after(formatdate(now - 30, usegmt=True), now) == 0
    assert retry_after("Fri, 31 Dec 9999 23:59:59 GMT", now) is not None


@given(st.text())
def test_no_retry_after_breaks_the_reading_of_it(value: str) -> None:
    seconds = retry_after(value)
    assert seconds is None or 0 <= seconds < float("inf")


def test_no_wait_passes_the_deadline(world: World) -> None:
    client, transport, clock = retrying(world, 503, 503, GOOD, deadline=1.2, jitter=0)
    with pytest.raises(oo.SecretError) as caught:
        client.get_secret(TOKEN)
    assert (clock.sleeps, caught.value.status) == ([0.5], 503)


def test_a_wait_that_ends_after_the_deadline_is_followed_by_no_attempt_and_none_is_counted(world: World) -> None:
    client, transport, clock = retrying(world, 503, GOOD, deadline=1, jitter=0)

    async def oversleep(seconds: float) -> None:
        clock.advance(seconds + 1)

    clock.sleep = oversleep
    with pytest.raises(oo.SecretError) as caught:
        client.get_secret(TOKEN)
    assert (caught.value.reason, caught.value.attempts, len(transport.requests)) == ("deadline", 1, 1)


def test_a_call_whose_deadline_has_passed_is_not_sent(world: World) -> None:
    async def dawdle(request: oo.Request, call_next: oo.CallNext) -> oo.Response:
        await call_next.io.sleep(5)
        return await call_next(request)

    transport = MockTransport([GOOD], io=world.clock())
    chain = [dawdle, *oo.default_middleware()]
    client = world.client(URL, middleware=chain, transport=transport, deadline=1)
    with pytest.raises(oo.SecretError) as caught:
        client.get_secret(TOKEN)
    assert (caught.value.reason, transport.requests) == ("deadline", [])


def test_a_post_carries_one_idempotency_key_on_every_attempt(world: World) -> None:
    client, transport, _ = retrying(world, 503, lost(), {}, {})
    client.proxy("v1/x", TOKEN, payload={})
    keys = [request.headers.get("Idempotency-Key") for request in transport.requests]
    assert len(set(keys)) == 1
    assert keys[0]
    client.proxy("v1/x", TOKEN, payload={})
    assert transport.requests[-1].headers["Idempotency-Key"] != keys[0]


def test_a_callers_own_idempotency_key_stays(world: World) -> None:
    client, transport, _ = retrying(world, 503, {})
    client.proxy("v1/x", TOKEN, headers={"idempotency-key": "mine"})
    assert [request.headers["Idempotency-Key"] for request in transport.requests] == ["mine"] * 2


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_an_idempotent_call_needs_no_key(world: World, method: str) -> None:
    client, transport, _ = retrying(world, 503, {})
    client.proxy("v1/x", TOKEN, method)
    assert all("Idempotency-Key" not in request.headers for request in transport.requests)


def test_statuses_replace_the_set(world: World) -> None:
    client, transport, _ = retrying(world, 404, GOOD, 503, GOOD, statuses={404})
    assert client.get_secret(TOKEN) == "v"
    with pytest.raises(oo.SecretError):
        client.get_secret(TOKEN)
    assert len(transport.requests) == 3


def test_the_timeline_tells_each_attempt(world: World) -> None:
    client, _, _ = retrying(world, 503, lost("timeout"), {"a": 1}, jitter=0)
    timeline = client.send("v1/x", TOKEN).timeline
    assert timeline == [("attempt", 0.0), (503, 0.0), ("attempt", 0.5), ("timeout", 0.5), ("attempt", 1.5), (200, 1.5)]


@pytest.mark.parametrize("name", ["retries", "backoff_factor", "max_wait", "jitter"])
@pytest.mark.parametrize("value", [-1, float("nan")])
def test_negative_settings_are_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"^{name} must be "):
        oo.Retry(**{name: value})


def test_the_client_takes_a_date_of_its_own_clock() -> None:
    assert 0 < (retry_after(formatdate(time.time() + 30, usegmt=True)) or 0) <= 30


def test_the_timeline_tells_when_each_attempt_began_and_how_it_ended(world: World) -> None:
    clock = world.clock()
    clock.advance(100)  # the timeline counts from the call's beginning, not the clock's
    transport = MockTransport([503, lost(), {}], io=clock)
    chain = [oo.Retry(2, backoff_factor=1, jitter=0), oo.ErrorMapping()]
    response = world.client(URL, middleware=chain, transport=transport).send("v1/x", TOKEN)
    ends = [("attempt", 0), (503, 0), ("attempt", 1), ("connection", 1), ("attempt", 3), (200, 3)]
    assert [(what, seconds) for what, seconds in response.timeline] == ends


def test_a_call_that_succeeds_gives_its_retries_back_to_the_budget(world: World) -> None:
    retry = oo.Retry(1, backoff_factor=0)
    answers = iter([*[503] * 2, *[503, {"value": "v"}] * 3, {"value": "v"}])
    transport = MockTransport(lambda _request: next(answers))
    client = world.client(URL, middleware=[retry, oo.ErrorMapping()], transport=transport)
    with pytest.raises(oo.SecretError):
        client.get_secret(TOKEN)
    left = [retry.budget._left]
    for _ in range(4):
        client.get_secret(TOKEN)
        left.append(retry.budget._left)
    # A failed call's retry is lost; one that helped costs nothing; a call that needed none gives a little.
    assert left == [495, 495, 495, 495, 496]
