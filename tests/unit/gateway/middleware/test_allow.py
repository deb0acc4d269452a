from __future__ import annotations

import pytest

from oo.gateway.errors import GatewayError
from oo.gateway.middleware.allow import Allow
from oo.gateway.models import Route
from tests.support.calls import call, through

ROUTE = Route("r", "http://x.example", allow=("GET /v1/*", "POST /v1/chat"))


@pytest.mark.parametrize(
    ("method", "path", "passed"),
    [("GET", "v1/x?q=1", "v1/x?q=1"), ("POST", "v1/chat", "v1/chat"), ("GET", "/v1/x", "v1/x")],
)
async def test_what_is_allowed_passes_with_its_path_in_one_writing(method: str, path: str, passed: str) -> None:
    _, sent = await through(Allow(), call(method, f"/api/proxy/{path}", route=ROUTE))
    assert [each.url for each in sent] == [f"/api/proxy/{passed}"]


@pytest.mark.parametrize(
    ("method", "path", "status", "outcome"),
    [
        ("POST", "v1/x", 403, "not allowed"),
        ("GET", "v2/x", 403, "not allowed"),
        ("GET", "../v1/x", 400, "bad path"),
        ("GET", "v1/%C0%AE%C0%AE/x", 403, "not allowed"),
        ("GET", "v1/%EF%BC%8E%EF%BC%8E/x", 403, "not allowed"),
        ("TRACE", "v1/x", 405, "not allowed"),
        ("get", "v1/x", 405, "not allowed"),
        ("M-SEARCH", "v1/x", 405, "not allowed"),
    ],
)
async def test_what_is_not_is_refused_before_anything_is_read(
    method: str, path: str, status: int, outcome: str
) -> None:
    with pytest.raises(GatewayError) as caught:
        await through(Allow(), call(method, f"/api/proxy/{path}", route=ROUTE))
    assert (caught.value.status, caught.value.outcome) == (status, outcome)
    assert ("Allow" in caught.value.headers) is (status == 405)


async def test_what_goes_to_no_upstream_passes_as_it_is() -> None:
    _, sent = await through(Allow(), call("GET", "/api/secret", endpoint="secret"))
    assert [each.url for each in sent] == ["/api/secret"]
