from __future__ import annotations

import pytest

from oo.gateway.errors import GatewayError
from oo.gateway.middleware.idempotency_key import idempotency_key
from tests.support.calls import call


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_a_call_that_may_change_something_has_a_key(method: str) -> None:
    assert idempotency_key(call(method, "/x", ("idempotency-key", "k 1"))) == "k 1"
    assert idempotency_key(call(method, "/x")) is None


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_one_that_only_reads_has_none(method: str) -> None:
    assert idempotency_key(call(method, "/x", ("Idempotency-Key", "k"))) is None


@pytest.mark.parametrize("keys", [[""], ["x" * 256], ["é"], ["a", "b"], ["a\t"]])
def test_what_is_no_one_text_is_refused(keys: list[str]) -> None:
    with pytest.raises(GatewayError, match="1 to 255 ASCII") as caught:
        idempotency_key(call("POST", "/x", *[("Idempotency-Key", key) for key in keys]))
    assert caught.value.status == 400
