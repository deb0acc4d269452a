"""Settings: what can be reckoned with and waited for is taken, and any other is a ValueError that names it."""

from __future__ import annotations

import math
from typing import Any

import pytest

from oo._core.validation import LONGEST, check_seconds, check_whole, is_number


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (0, True),
        (-1, True),
        (0.5, True),
        (math.inf, True),
        (10**300, True),
        (10**400, False),
        (True, False),
        ("1", False),
        (None, False),
        (1j, False),
    ],
)
def test_a_number_is_what_can_be_reckoned_with(value: Any, number: bool) -> None:
    assert is_number(value) is number


@pytest.mark.parametrize(("value", "least"), [(0, 0), (5, 5), (6, 5), (10**400, 1)])
def test_a_whole_number_that_is_large_enough_is_taken(value: Any, least: int) -> None:
    check_whole("size", value, least)


@pytest.mark.parametrize(("value", "least"), [(-1, 0), (4, 5), (True, 0), (1.0, 0), ("1", 0), (None, 0), (math.nan, 0)])
def test_any_other_is_refused_by_name(value: Any, least: int) -> None:
    with pytest.raises(ValueError, match=f"^size must be a whole number, {least} or more$"):
        check_whole("size", value, least)


@pytest.mark.parametrize("value", [1, 0.001, LONGEST])
@pytest.mark.parametrize("none", [False, True])
def test_seconds_that_can_be_waited_are_taken(value: float, none: bool) -> None:
    check_seconds("timeout", value, none=none)


@pytest.mark.parametrize("value", [0, -1, LONGEST + 1, math.nan, math.inf, 10**400, True, "30", (1, 2)])
@pytest.mark.parametrize("none", [False, True])
def test_other_seconds_are_refused_by_name(value: Any, none: bool) -> None:
    with pytest.raises(ValueError, match=r"^timeout must be a positive number of seconds, at most 1,000,000,000$"):
        check_seconds("timeout", value, none=none)


def test_none_is_taken_only_where_it_may_be() -> None:
    check_seconds("deadline", None, none=True)
    with pytest.raises(ValueError, match="deadline"):
        check_seconds("deadline", None)
