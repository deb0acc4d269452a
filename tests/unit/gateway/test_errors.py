from __future__ import annotations

import pytest

import oo
from oo.gateway.errors import Conflict, GatewayError, IntegrityError, NoToken, StoreError, Unauthorized, UpstreamFailed


def test_an_error_says_one_thing_to_the_caller_and_another_to_the_audit() -> None:
    error = GatewayError(429, "used too often", "rate", {"Retry-After": "3"})
    assert (error.status, error.message, error.outcome) == (429, "used too often", "rate")
    assert (str(error), error.headers) == ("used too often", {"Retry-After": "3"})
    assert GatewayError(400, "no", "bad request").headers == {}


@pytest.mark.parametrize(
    ("error", "status", "message", "outcome"),
    [
        (Unauthorized("revoked"), 401, "the token was not accepted", "revoked"),
        (NoToken("a header"), 401, "no token was sent: it belongs in a header", "no token"),
        (Conflict(422, "used with another request"), 422, "used with another request", "idempotency conflict"),
        (UpstreamFailed("it failed", oo.DoubleOError("why", reason="tls")), 502, "it failed: why", "upstream tls"),
        (UpstreamFailed("it", oo.DoubleOError("slow", reason="timeout")), 504, "it: slow", "upstream timeout"),
        (UpstreamFailed("it", oo.DoubleOError("late", reason="deadline")), 504, "it: late", "upstream deadline"),
    ],
)
def test_each_kind_has_its_status(error: GatewayError, status: int, message: str, outcome: str) -> None:
    assert (error.status, error.message, error.outcome) == (status, message, outcome)


def test_a_401_tells_how_to_ask() -> None:
    assert Unauthorized("expired").headers == {"WWW-Authenticate": "Bearer"}


def test_what_does_not_open_is_a_failure_of_the_store() -> None:
    with pytest.raises(StoreError):
        raise IntegrityError("it was changed")
