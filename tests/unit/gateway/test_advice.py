from __future__ import annotations

from typing import Any

import pytest

from oo.exceptions import DoubleOError
from oo.gateway.advice import advice
from oo.gateway.errors import GatewayError, Unauthorized
from oo.gateway.models import Kind, Route, Token
from tests.support.calls import call

ROUTE = Route("api", "https://x.example", {"X-Key": "{key}"}, ("GET /v1/*",))


def token(kind: Kind = "route") -> Token:
    return Token("id", kind, "thing", "", 0.0, None, None, None, None, "00")


@pytest.mark.parametrize(
    ("error", "mend"),
    [
        (Unauthorized("no token"), "oo token issue"),
        (Unauthorized("malformed"), "whole"),
        (Unauthorized("unknown"), "OO_HOME"),
        (Unauthorized("revoked"), "`oo token issue --route thing` makes another"),
        (Unauthorized("expired"), "`oo token issue --route thing` makes another"),
        (Unauthorized("used up"), "`oo token issue --route thing` makes another"),
        (Unauthorized("gone"), "`oo route set thing`"),
        (GatewayError(429, "no", "rate", {"Retry-After": "3"}), "wait 3 s"),
        (GatewayError(403, "no", "not allowed"), "--allow 'GET /v1/*' --allow 'PUT /v1/x'`"),
        (GatewayError(405, "no", "not allowed", {"Allow": "GET"}), "use one of GET"),
        (GatewayError(500, "no", "unknown kind"), "`oo serve --plugins NAME`"),
        (GatewayError(500, "no", "bad route"), "`oo route update api`"),
        (DoubleOError("no"), "whether key is there"),
    ],
)
def test_a_refusal_can_be_mended(error: Any, mend: str) -> None:
    assert mend in advice(error, call("PUT", "/api/proxy/v1/x?a=1", route=ROUTE), token())


@pytest.mark.parametrize(
    ("kind", "mend"),
    [
        ("secret", "'GET /api/secret'"),
        ("env", "'GET /api/env'"),
        ("route", "'GET /v1/models'"),
        ("bundle", "oo run --proxied"),
    ],
)
def test_a_token_of_another_kind_is_for_another_place(kind: Kind, mend: str) -> None:
    assert mend in advice(Unauthorized("wrong kind"), call(), token(kind))


def test_of_a_route_without_a_secret_its_list_tells() -> None:
    route = Route("api", "https://x.example")
    assert advice(DoubleOError("no"), call(route=route), None) == "`oo route list` shows the route api"


@pytest.mark.parametrize("error", [DoubleOError("no"), Unauthorized("revoked"), GatewayError(400, "no", "bad request")])
def test_where_nothing_is_known_nothing_is_said(error: Any) -> None:
    assert advice(error, call(), None) == ""


def test_where_nothing_is_known_of_an_outcome_nothing_is_said() -> None:
    assert advice(GatewayError(400, "no", "bad request"), call(), token()) == ""
