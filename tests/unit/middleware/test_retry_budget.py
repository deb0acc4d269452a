"""The retry budget: an outage is not multiplied, and what ends is over at once.

OO_LONG=1 makes 10,000 calls over loopback as well, for the 2,000 of a plain run.
"""

from __future__ import annotations

import os
from typing import Any

import pytest

import oo
from oo.middleware.retry import BUDGET_CAPACITY, RETRY_COST, RetryBudget
from oo.testing import MockTransport
from tests.support.faults import BODY, answer, serving
from tests.support.worlds import World

pytestmark = pytest.mark.campaign

TOKEN = "a-token-of-an-outage"
URL = "http://localhost:3001"
CALLERS = 64
RETRIES = BUDGET_CAPACITY // RETRY_COST  # that a full budget pays for


def outage(world: World, client: Any, calls: int) -> list[Any]:
    """What `calls` calls end with, made by 64 callers at a time."""
    shares = [calls // CALLERS + (n < calls % CALLERS) for n in range(CALLERS)]

    def call(share: int) -> Any:
        if world.blocking:
            return lambda: [_failed(client.client.get_secret) for _ in range(share)]

        async def acall() -> list[Any]:
            return [await _afailed(client.client.get_secret) for _ in range(share)]

        return acall

    return [end for each in world.together(*map(call, shares)) for end in each]


def _failed(get: Any) -> Any:
    try:
        return get(TOKEN)
    except oo.SecretError as error:
        return error.status


async def _afailed(get: Any) -> Any:
    try:
        return await get(TOKEN)
    except oo.SecretError as error:
        return error.status


def test_ten_thousand_calls_put_little_more_on_the_wire_in_an_outage(world: World) -> None:
    down = True
    transport = MockTransport(lambda _request: 503 if down else {"value": "v"}, io=world.clock())
    client = world.client(URL, retries=3, transport=transport)
    assert outage(world, client, 10_000) == [503] * 10_000
    assert len(transport.requests) == 10_000 + RETRIES
    down = False
    assert outage(world, client, RETRY_COST) == ["v"] * RETRY_COST
    script = iter([503])
    transport._answer = lambda _request: next(script, {"value": "again"})
    assert client.get_secret(TOKEN) == "again"


def test_an_outage_over_loopback_is_not_multiplied_and_is_over_after_a_few_successes(world: World) -> None:
    calls = 10_000 if "OO_LONG" in os.environ else 2_000
    busy, good = answer(b"{}", status=b"503 Busy"), answer(BODY)
    blips: list[bytes] = []
    replies = [busy]
    with serving(reply=lambda _request: blips.pop() if blips else replies[0]) as server:
        client = world.client(server.url, retries=3, backoff_factor=0.001)
        assert outage(world, client, calls) == [503] * calls
        assert len(server.requests) == calls + RETRIES <= 1.1 * calls
        replies[0] = good

        for _ in range(RETRY_COST):
            client.get_secret(TOKEN)
        blips.append(busy)
        sent = len(server.requests)
        client.get_secret(TOKEN)
        assert len(server.requests) == sent + 2


def test_a_budget_is_full_again_after_as_many_successes_as_it_holds() -> None:
    budget = RetryBudget()
    assert [budget.spend() for _ in range(RETRIES + 1)] == [True] * RETRIES + [False]
    for _ in range(2 * BUDGET_CAPACITY):
        budget.refund(0)
    assert [budget.spend() for _ in range(RETRIES + 1)] == [True] * RETRIES + [False]


def test_a_retry_that_helped_is_paid_back() -> None:
    budget = RetryBudget()
    for _ in range(10 * RETRIES):
        assert budget.spend()
        budget.refund(1)
