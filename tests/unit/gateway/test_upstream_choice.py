from __future__ import annotations

import pytest

from oo.gateway.upstream_choice import FAILURES, REST, UpstreamChoice


def firsts(choice: UpstreamChoice, calls: int, now: float = 0.0) -> list[int]:
    return [choice.order(now)[0] for _ in range(calls)]


@pytest.mark.parametrize(
    ("weights", "asked"),
    [
        ([1], [0, 0, 0]),
        ([1, 1], [0, 1, 0, 1]),
        ([2, 1], [0, 1, 0, 0, 1, 0]),
        ([5, 1, 1], [0, 0, 1, 0, 2, 0, 0]),
        ([1, 3], [1, 0, 1, 1, 1, 0, 1, 1]),
    ],
)
def test_each_is_asked_in_proportion_to_its_weight_and_smoothly(weights: list[int], asked: list[int]) -> None:
    assert firsts(UpstreamChoice(weights), len(asked)) == asked


def test_every_one_is_in_the_order_once_the_heavier_sooner() -> None:
    choice = UpstreamChoice([1, 5, 3])
    assert [choice.order(0.0) for _ in range(3)] == [[1, 2, 0], [2, 1, 0], [1, 2, 0]]


def fail(choice: UpstreamChoice, number: int, times: int = FAILURES, now: float = 0.0) -> None:
    for _ in range(times):
        choice.failed(number, now)


def test_one_that_fails_five_times_in_a_row_rests_for_ten_seconds() -> None:
    choice = UpstreamChoice([3, 1])
    fail(choice, 0, FAILURES - 1)
    assert 0 in firsts(choice, 4)
    fail(choice, 0, 1)
    assert firsts(choice, 8) == [1] * 8
    assert firsts(choice, 8, REST - 0.001) == [1] * 8
    assert choice.order(0.0) == [1, 0]
    assert 0 in firsts(choice, 4, REST)


def test_an_answer_in_between_begins_the_row_anew() -> None:
    choice = UpstreamChoice([1, 1])
    fail(choice, 0, FAILURES - 1)
    choice.succeeded(0)
    fail(choice, 0, FAILURES - 1)
    assert set(firsts(choice, 4)) == {0, 1}


def test_after_a_rest_one_failure_is_enough_and_one_answer_mends() -> None:
    choice = UpstreamChoice([1, 1])
    fail(choice, 0)
    choice.failed(0, REST)
    assert firsts(choice, 4, REST) == [1] * 4
    assert firsts(choice, 4, 2 * REST - 0.001) == [1] * 4
    assert choice.succeeded(0)
    assert not choice.succeeded(0)
    assert set(firsts(choice, 4, REST)) == {0, 1}
    fail(choice, 0, FAILURES - 1, REST)
    assert set(firsts(choice, 4, REST)) == {0, 1}


def test_where_all_rest_the_one_that_is_ready_soonest_is_asked() -> None:
    choice = UpstreamChoice([1, 1, 1])
    for number, now in ((2, 0.0), (0, 1.0), (1, 2.0)):
        fail(choice, number, now=now)
    assert choice.order(3.0) == [2, 0, 1]
    assert choice.order(REST) == [2, 0, 1]
    assert choice.order(REST + 1)[2] == 1
