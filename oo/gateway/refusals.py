"""A refusal as JSON, in the shape that the caller's library reads. Pure."""

from __future__ import annotations

from .._http.response import JSON
from .errors import GatewayError

_KINDS = {
    401: ("authentication_error", "invalid_api_key"),
    403: ("permission_error", "not_allowed"),
    404: ("invalid_request_error", "not_found"),
    405: ("invalid_request_error", "method_not_allowed"),
    408: ("invalid_request_error", "request_timeout"),
    409: ("invalid_request_error", "conflict"),
    413: ("invalid_request_error", "request_too_large"),
    414: ("invalid_request_error", "request_too_large"),
    422: ("invalid_request_error", "idempotency_key_reused"),
    429: ("rate_limit_error", "rate_limit_exceeded"),
    431: ("invalid_request_error", "request_too_large"),
    500: ("api_error", "internal_error"),
    501: ("api_error", "not_implemented"),
    502: ("api_error", "upstream_failed"),
    503: ("api_error", "unavailable"),
    504: ("api_error", "upstream_timeout"),
}


def refusal(error: GatewayError, endpoint: str) -> dict[str, JSON]:
    """The JSON of an error: OpenAI's shape where a proxied call is refused, elsewhere the one of the 0.2 series."""
    if endpoint != "proxy":
        return {"error": error.message}
    # By the status alone: the outcome would tell of tokens what nobody without one is told.
    kind, code = _KINDS.get(error.status) or (
        ("api_error", "internal_error") if error.status >= 500 else ("invalid_request_error", "bad_request")
    )
    return {"error": {"message": error.message, "type": kind, "code": code}}
