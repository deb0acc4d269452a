from __future__ import annotations

import pytest

from oo.gateway.errors import Conflict, IntegrityError, Refusal, StoreError


def test_a_refusal_says_one_thing_to_the_caller_and_another_to_the_audit() -> None:
    refusal = Refusal(429, "used too often", "rate", {"Retry-After": "3"})
    assert (refusal.status, refusal.said, refusal.outcome) == (429, "used too often", "rate")
    assert (str(refusal), refusal.headers) == ("used too often", {"Retry-After": "3"})
    assert Refusal(400, "no", "bad request").headers is None


def test_a_conflict_has_a_status() -> None:
    conflict = Conflict(422, "used with another request")
    assert (conflict.status, conflict.said, str(conflict)) == (422,) + ("used with another request",) * 2


def test_what_does_not_open_is_a_failure_of_the_store() -> None:
    with pytest.raises(StoreError):
        raise IntegrityError("it was changed")
