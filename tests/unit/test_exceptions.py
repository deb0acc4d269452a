"""The errors: one tree, and each travels with all that it carries."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

import oo
from oo.exceptions import ERROR_OF, DoubleOError

ATTRIBUTES = ("status", "reason", "request_id", "retry_after", "attempts", "body", "retryable")
FIVE = [DoubleOError, oo.SecretError, oo.EnvError, oo.ProxyError, oo.AuthenticationError]


def test_the_four_are_children_of_the_one_and_of_nothing_else() -> None:
    assert [kind.__bases__ for kind in FIVE] == [(Exception,), *[(DoubleOError,)] * 4]


@pytest.mark.parametrize(
    "again",
    [copy.copy, copy.deepcopy, *(lambda error, n=n: pickle.loads(pickle.dumps(error, n)) for n in range(6))],
)
@pytest.mark.parametrize("kind", FIVE)
def test_an_error_is_copied_and_pickled_with_all_that_it_carries(kind: type[DoubleOError], again: Any) -> None:
    carried = dict(zip(ATTRIBUTES, (429, "status", "r-1", 7.5, 3, {"error": ["a", None]}, True), strict=True))
    error = kind("what it says", **carried)
    error.note = "of a middleware"  # type: ignore[attr-defined]  # what a caller hangs on it goes along
    other = again(error)
    assert other is not error
    assert type(other) is kind
    assert (str(other), other.args, vars(other)) == (str(error), error.args, vars(error))


def test_an_error_without_attributes_has_them_all() -> None:
    assert {name: getattr(DoubleOError(), name) for name in ATTRIBUTES} == {
        "status": None,
        "reason": "unknown",
        "request_id": None,
        "retry_after": None,
        "attempts": 0,
        "body": None,
        "retryable": False,
    }


@pytest.mark.parametrize("kind", FIVE)
def test_a_failure_becomes_another_kind_with_all_that_it_carries(kind: type[DoubleOError]) -> None:
    error = DoubleOError("what it says", status=503, reason="status", attempts=2, retryable=True)
    try:
        raise error
    except DoubleOError:
        other = error.become(kind)
    assert type(other) is kind
    assert (str(other), vars(other)) == (str(error), vars(error))
    assert other.__traceback__ is error.__traceback__ is not None
    assert (other.__cause__, other.__context__) == (None, None)


def test_each_operation_has_its_error() -> None:
    kinds = {"secret": oo.SecretError, "env": oo.EnvError, "proxy": oo.ProxyError, "health": oo.ProxyError}
    assert kinds == ERROR_OF
