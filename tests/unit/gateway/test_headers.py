from __future__ import annotations

import pytest

import oo
from oo.gateway.context import GatewayContext, of_route
from oo.gateway.header_rules import HOP_BY_HOP, KEPT_BACK
from oo.gateway.headers import STRIPPED_RESPONSE, caller_headers, upstream_request
from oo.gateway.models import Route

ROUTE = Route("r", "https://api.test/base/", {"X-Api-Token": "{key}"}, timeout=7)


def forwarded(*pairs: tuple[str, str]) -> list[tuple[str, str]]:
    return list(upstream_request(ROUTE, "GET", "v1/x", pairs, None, GatewayContext()).headers.pairs())


def returned(*pairs: tuple[str, str], method: str = "GET") -> list[tuple[str, str]]:
    request = upstream_request(ROUTE, method, "v1/x", (), None, GatewayContext())
    *passed, mark = caller_headers(oo.Response(200, oo.Headers(pairs), request=request))
    assert mark == ("X-OO-Source", "upstream")
    return passed


def spellings(name: str) -> set[str]:
    return {name, name.upper(), name.title(), name.replace("-", "_"), name.replace("-", ".")}


@pytest.mark.parametrize("name", sorted(KEPT_BACK | {"x-forwarded-for", "x-remote-user", "x-api-token"}))
def test_what_is_a_hops_or_the_callers_own_is_not_forwarded(name: str) -> None:
    assert forwarded(*((each, "value") for each in sorted(spellings(name))), ("X-Kept", "1")) == [("X-Kept", "1")]


@pytest.mark.parametrize("name", sorted(STRIPPED_RESPONSE))
def test_what_is_a_hops_or_the_upstreams_own_does_not_come_back(name: str) -> None:
    assert returned(*((each, "value") for each in sorted(spellings(name))), ("X-Kept", "1")) == [("X-Kept", "1")]


def test_each_direction_strips_what_belongs_to_one_hop() -> None:
    assert HOP_BY_HOP <= KEPT_BACK & STRIPPED_RESPONSE
    assert {"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"} <= HOP_BY_HOP


@pytest.mark.parametrize(
    ("inject", "pairs", "accepted"),
    [
        (True, [("Accept-Encoding", "br")], None),
        (True, [("Range", "bytes=0-9")], "identity"),
        (False, [], "identity"),
        (False, [("Accept-Encoding", "br"), ("accept_encoding", "zstd")], "br, zstd"),
        (False, [("Accept-Encoding", "br"), ("Range", "bytes=0-9")], "identity"),
    ],
)
def test_which_codings_an_upstream_may_use(inject: bool, pairs: list[tuple[str, str]], accepted: str | None) -> None:
    route = ROUTE if inject else Route("r", "https://api.test")
    request = upstream_request(route, "GET", "v1/x", pairs, None, GatewayContext())
    assert request.headers.get("Accept-Encoding") == accepted


def test_what_connection_names_belongs_to_one_hop() -> None:
    pairs = [("Connection", "close, X-One"), ("connection", "x-two"), ("X_One", "1"), ("X-Two", "2"), ("X-Three", "3")]
    assert forwarded(*pairs) == [("X-Three", "3")]
    assert returned(*pairs) == [("X-Three", "3")]


@pytest.mark.parametrize(
    ("method", "encoding", "kept"), [("HEAD", None, True), ("HEAD", "gzip", False), ("GET", None, False)]
)
def test_only_the_length_that_head_tells_of_comes_back(method: str, encoding: str | None, kept: bool) -> None:
    pairs = [("Content-Length", "5")] + ([] if encoding is None else [("Content-Encoding", encoding)])
    assert returned(*pairs, method=method) == ([("Content-Length", "5")] if kept else [])


@pytest.mark.parametrize(
    ("sent", "got"),
    [
        ("plain", "plain"),
        ("a\tb", "a\tb"),
        ("a\x00b\x7fc", "a b c"),
        ("naïve €", "naïve €"),
        (b"caf\xe9".decode("utf-8", "surrogateescape"), "café"),
    ],
)
def test_a_value_is_one_that_can_be_written(sent: str, got: str) -> None:
    assert forwarded(("X-Odd", sent)) == [("X-Odd", got)]


def test_a_request_goes_below_the_routes_upstream() -> None:
    request = upstream_request(ROUTE, "POST", "v1/x?a=1", [("X-A", "1"), ("X-A", "2")], b"body", GatewayContext())
    assert (request.method, request.url, request.body) == ("POST", "https://api.test/base/v1/x?a=1", b"body")
    assert (request.base_url, request.timeout, request.stream_response) == ("https://api.test/base", 7, True)
    assert request.headers.pairs() == (("X-A", "1"), ("X-A", "2"))
    assert of_route(request) is ROUTE


@pytest.mark.parametrize("name", ["A-IM", "a_im", "Accept-Charset"])
def test_what_would_have_the_answer_come_in_a_form_that_no_mask_reads_stays(name: str) -> None:
    assert forwarded((name, "x")) == []


def test_a_route_may_pass_on_what_else_stays() -> None:
    route = Route("r", "https://api.test", {"X-Key": "{key}"}, pass_headers=("Cookie", "X_Forwarded_For"))
    pairs = [("Cookie", "a=1"), ("X-Forwarded-For", "::1"), ("Via", "1.1 x"), ("X-Mine", "1")]
    request = upstream_request(route, "GET", "x", pairs, None, GatewayContext())
    assert [name for name, _ in request.headers.pairs()][:3] == ["Cookie", "X-Forwarded-For", "X-Mine"]
    assert "Via" not in request.headers


def test_a_route_may_keep_back_what_else_passes() -> None:
    route = Route("r", "https://api.test", {"X-Key": "{key}"}, drop_headers=("X-Mine", "OpenAI_Organization"))
    pairs = [("X.Mine", "1"), ("openai-organization", "o"), ("X-Other", "1"), ("X-Other", "2"), ("x-other", "3")]
    request = upstream_request(route, "GET", "x", pairs, None, GatewayContext())
    assert request.headers.pairs() == (("X-Other", "1"), ("X-Other", "2"), ("x-other", "3"))
