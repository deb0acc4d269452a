"""Programs in browsers: what a preflight, an answer and a refusal say to them."""

from __future__ import annotations

import oo.testing
from tests.integration.gateway.test_gateway import ask
from tests.support.faults import answer, serving

APP = "https://app.example"
ASKED = {"Access_Control_Request_Method": "POST", "Access_Control_Request_Headers": "authorization,content-type"}


def test_a_browser_may_call_a_route_that_names_its_origin(gateway: oo.testing.LocalGateway) -> None:
    with serving(reply=lambda _request: answer(b"{}", b"Access-Control-Allow-Origin: *", b"X-Mine: 1")) as server:
        token = gateway.route("r", server.url, cors=(APP,), allow=("POST /v1/*",))
        gateway.route("other", server.url)
        status, headers, _ = ask(gateway.url, "OPTIONS", "/api/proxy/v1/x", Origin=APP, **ASKED)
        assert (status, headers["Access-Control-Allow-Origin"]) == (204, APP)
        assert headers["Access-Control-Allow-Headers"] == "authorization,content-type"
        assert "POST" in headers["Access-Control-Allow-Methods"]
        assert server.requests == []

        status, headers, _ = ask(gateway.url, "POST", "/api/proxy/v1/x", token, b"{}", Origin=APP)
        assert (status, headers.get_all("Access-Control-Allow-Origin")) == (200, [APP])
        assert (headers["Access-Control-Expose-Headers"], headers["Vary"], headers["X-Mine"]) == ("*", "Origin", "1")
        for path, bearer, refused in (("v2/x", token, 403), ("v1/x", "oo_wrong", 401)):
            status, headers, _ = ask(gateway.url, "POST", f"/api/proxy/{path}", bearer, b"{}", Origin=APP)
            assert (status, headers["Access-Control-Allow-Origin"]) == (refused, APP)


def test_any_other_origin_may_not(gateway: oo.testing.LocalGateway) -> None:
    with serving() as server:
        token = gateway.route("r", server.url, cors=(APP,))
        for origin in ("https://evil.example", "null", "https://app.example:8443", "http://app.example"):
            status, headers, _ = ask(gateway.url, "OPTIONS", "/api/proxy/v1/x", Origin=origin, **ASKED)
            assert (status, headers["Access-Control-Allow-Origin"]) == (401, None)
            status, headers, _ = ask(gateway.url, "POST", "/api/proxy/v1/x", token, b"{}", Origin=origin)
            assert (status, headers["Access-Control-Allow-Origin"]) == (200, None)


def test_a_secret_is_for_no_browser(gateway: oo.testing.LocalGateway) -> None:
    gateway.route("r", "https://api.example", cors=("*",))
    token = gateway.secret("a", "the value")
    assert ask(gateway.url, "OPTIONS", "/api/secret", Origin=APP, **ASKED)[0] == 404
    assert ask(gateway.url, "GET", "/api/secret", token, Origin=APP)[1]["Access-Control-Allow-Origin"] is None
