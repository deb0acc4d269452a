from __future__ import annotations

from typing import cast

import pytest

from oo.gateway.errors import GatewayError, NoToken, Unauthorized
from oo.gateway.refusals import refusal


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (400, "invalid_request_error", "bad_request"),
        (401, "authentication_error", "invalid_api_key"),
        (403, "permission_error", "not_allowed"),
        (404, "invalid_request_error", "not_found"),
        (405, "invalid_request_error", "method_not_allowed"),
        (408, "invalid_request_error", "request_timeout"),
        (409, "invalid_request_error", "conflict"),
        (413, "invalid_request_error", "request_too_large"),
        (414, "invalid_request_error", "request_too_large"),
        (417, "invalid_request_error", "bad_request"),
        (422, "invalid_request_error", "idempotency_key_reused"),
        (429, "rate_limit_error", "rate_limit_exceeded"),
        (431, "invalid_request_error", "request_too_large"),
        (500, "api_error", "internal_error"),
        (501, "api_error", "not_implemented"),
        (502, "api_error", "upstream_failed"),
        (503, "api_error", "unavailable"),
        (504, "api_error", "upstream_timeout"),
        (508, "api_error", "internal_error"),
    ],
)
def test_a_proxied_call_is_refused_as_openai_does(status: int, kind: str, code: str) -> None:
    error = GatewayError(status, "no", "a word for the audit")
    assert refusal(error, "proxy") == {"error": {"message": "no", "type": kind, "code": code}}


@pytest.mark.parametrize("endpoint", ["secret", "env", "health", "other"])
def test_any_other_is_refused_as_ever(endpoint: str) -> None:
    assert refusal(GatewayError(403, "no", "not allowed"), endpoint) == {"error": "no"}


def test_who_holds_no_token_is_told_nothing_by_the_code() -> None:
    refused = [refusal(Unauthorized(outcome), "proxy") for outcome in ("unknown", "malformed", "gone")]
    assert refused == [refused[0]] * 3
    none = cast("dict[str, dict[str, str]]", refusal(NoToken("a header"), "proxy"))["error"]
    assert none == {**refused[0]["error"], "message": "no token was sent: it belongs in a header"}
