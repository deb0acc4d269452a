"""Request and Response: each is replaced, and neither shows what it carries."""

from __future__ import annotations

from typing import Any

import pytest

import oo
from oo import Headers, Request, Response
from tests.support.probing import assert_ours

CANARY = "canary-5501"
URL = "http://localhost:3001"


def request(**settings: Any) -> Request:
    settings.setdefault("headers", Headers({"X-A": "1"}))
    return Request(
        "GET", f"{URL}/api/x?q={CANARY}", operation="proxy", parse=lambda _r: 1, base_url=URL, token=CANARY, **settings
    )


def test_no_repr_shows_a_token_a_header_a_query_or_a_body() -> None:
    sent = request(headers=Headers({"X-A": CANARY}), body=CANARY.encode(), extensions={"a": CANARY})
    answer = Response(200, Headers({"X-A": CANARY}), CANARY.encode(), request=sent)
    assert repr(sent) == "<Request proxy: GET /api/x>"
    assert CANARY not in repr(sent) + repr(answer) + repr(sent.headers)


def test_a_request_is_replaced_and_never_changed() -> None:
    first = request()
    second = first.replace(method="POST", timeout=1.0).with_header("x-a", "2")
    assert (first.method, first.timeout, first.headers["X-A"]) == ("GET", 30.0, "1")
    assert (second.method, second.timeout, second.headers.pairs()) == ("POST", 1.0, (("x-a", "2"),))
    unchanged = set(Request.__slots__) - {"method", "timeout", "headers"}
    assert all(getattr(first, name) is getattr(second, name) for name in unchanged)
    assert first.extensions is second.extensions
    third = first.for_call("another", 5)
    assert (third.token, third.cache_ttl, third.extensions) == ("another", 5, {})
    assert third.extensions is not first.extensions


@pytest.mark.parametrize("name", ["headres", "cache_key", "path", "__class__", ""])
def test_what_a_message_does_not_have_cannot_be_replaced(name: str) -> None:
    with pytest.raises(TypeError, match="has no"):
        request().replace(**{name: 1})
    with pytest.raises(TypeError, match="has no"):
        Response(200, request=request()).replace(**{name: 1})


def test_a_replaced_response_forgets_what_was_read_of_another_body() -> None:
    reads: list[int] = []

    def read(response: Response) -> Any:
        reads.append(response.status)
        return response.json()

    first = Response(200, body=b'{"a": 1}', request=request().replace(parse=read))
    assert (first.parse(), first.parse(), first.json() is first.json()) == ({"a": 1}, {"a": 1}, True)
    assert reads == [200]
    assert first.replace(headers=Headers({"A": "b"})).parse() is first.value
    assert first.replace(body=b"2").parse() == 2
    assert first.replace(status=201).parse() == {"a": 1}
    assert reads == [200, 200, 201]
    assert first.extensions is first.request.extensions


@pytest.mark.parametrize(
    ("operation", "kind"), [("secret", oo.SecretError), ("env", oo.EnvError), ("proxy", oo.ProxyError)]
)
def test_the_json_of_a_body_that_has_none_is_the_operations_error(operation: Any, kind: type[Exception]) -> None:
    response = Response(200, body=CANARY.encode(), request=request().replace(operation=operation))
    for _ in range(2):
        with pytest.raises(oo.DoubleOError) as caught:
            response.json()
        assert (type(caught.value), caught.value.reason) == (kind, "protocol")
        assert_ours(caught.value, CANARY)
