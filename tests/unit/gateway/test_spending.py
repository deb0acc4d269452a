from __future__ import annotations

import pytest

from oo.gateway.models import Denial, Rate, Token
from oo.gateway.spending import calls_at_once, charge, has_use

NOW = 1000.0


def token(uses: int | None = None, rate: Rate | None = None) -> Token:
    return Token("id", "secret", "a", "", 0.0, None, uses, rate, None, "00")


@pytest.mark.parametrize(
    ("uses", "used", "allowed"), [(None, 10**9, True), (2, 0, True), (2, 1, True), (2, 2, False), (2, 3, False)]
)
def test_a_token_has_as_many_uses_as_it_was_given(uses: int | None, used: int, allowed: bool) -> None:
    assert has_use(token(uses), used) is allowed


def test_a_rate_gives_a_burst_and_then_one_use_at_a_time() -> None:
    limited, tat, now = token(rate=Rate(4, 40.0)), 0.0, NOW
    for _ in range(4):
        outcome = charge(limited, tat, now)
        assert isinstance(outcome, float)
        tat = outcome
    assert charge(limited, tat, now) == Denial("rate", "id", 10.0, target="a")
    assert charge(limited, tat, now + 9) == Denial("rate", "id", 1.0, target="a")
    assert charge(limited, tat, now + 10) == tat + 10


@pytest.mark.parametrize("count", [1, 3, 7, 1000])
def test_a_whole_burst_is_there_whatever_rounding_does(count: int) -> None:
    limited, tat, now = token(rate=Rate(count, 60.0)), 0.0, 1.7e9 + 0.123456
    for _ in range(count):
        outcome = charge(limited, tat, now)
        assert isinstance(outcome, float)
        tat = outcome
    assert isinstance(charge(limited, tat, now), Denial)


def test_a_clock_that_was_set_back_costs_one_period_at_most() -> None:
    outcome = charge(token(rate=Rate(2, 1.0)), NOW + 86400, NOW)
    assert outcome == Denial("rate", "id", 0.5, target="a")


def test_a_token_without_a_rate_is_charged_nothing() -> None:
    assert charge(token(uses=1), 7.0, NOW) == 7.0


@pytest.mark.parametrize("ahead", [-5.0, 0.0, 1.0, 10.0, 29.9, 30.0, 39.0, 40.0, 1000.0])
def test_a_rate_tells_how_many_calls_it_lets_through_at_once(ahead: float) -> None:
    rate = Rate(4, 40.0)
    limited, tat, passed = token(rate=rate), NOW + ahead, 0
    told = calls_at_once(rate, tat, NOW)
    while isinstance(outcome := charge(limited, tat, NOW), float):
        tat, passed = outcome, passed + 1
    assert told == passed
