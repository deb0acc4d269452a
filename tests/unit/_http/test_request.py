"""Request and Response: each is replaced, and neither shows what it carries."""

from __future__ import annotations

from typing import Any

import pytest

import oo
from oo import Headers, Request, Response
from oo._client.operations import ClientContext
from oo._http.context import Context
from tests.support.probing import assert_ours

CANARY = "canary-5501"
URL = "http://localhost:3001"


def request(parse: Any = lambda _response: 1, operation: Any = "proxy", **settings: Any) -> Request:
    settings.setdefault("headers", Headers({"X-A": "1"}))
    context = ClientContext(operation, parse, CANARY)
    return Request("GET", f"{URL}/api/x?q={CANARY}", base_url=URL, context=context, **settings)


def test_no_repr_shows_a_token_a_header_a_query_or_a_body() -> None:
    sent = request(headers=Headers({"X-A": CANARY}), body=CANARY.encode())
    sent.context.extensions["a"] = CANARY
    answer = Response(200, Headers({"X-A": CANARY}), CANARY.encode(), request=sent)
    assert repr(sent) == "<Request proxy: GET /api/x>"
    assert CANARY not in repr(sent) + repr(answer) + repr(sent.headers) + repr(sent.context)


def test_a_request_is_replaced_and_never_changed() -> None:
    first = request()
    second = first.replace(method="POST", timeout=1.0).with_header("x-a", "2")
    assert (first.method, first.timeout, first.headers["X-A"]) == ("GET", 30.0, "1")
    assert (second.method, second.timeout, second.headers.pairs()) == ("POST", 1.0, (("x-a", "2"),))
    unchanged = set(Request.__slots__) - {"method", "timeout", "headers"}
    assert all(getattr(first, name) is getattr(second, name) for name in unchanged)
    third = first.with_context(Context())
    assert third.context is not first.context
    assert all(getattr(first, name) is getattr(third, name) for name in set(Request.__slots__) - {"context"})


def test_a_request_moves_with_its_base_url() -> None:
    moved = request().replace(base_url="https://other.example/base")
    assert (moved.base_url, moved.url) == ("https://other.example/base", f"https://other.example/base/api/x?q={CANARY}")
    assert moved.replace(base_url=URL).url == request().url
    assert moved.path == "/api/x"


def test_the_copies_of_a_request_and_its_answer_share_one_context() -> None:
    first = request()
    copy = first.with_header("X-B", "2").replace(timeout=1)
    copy.context.attempts = 3
    answer = Response(200, request=copy)
    assert first.context.attempts == answer.context.attempts == answer.replace(status=201).context.attempts == 3
    assert first.context.id == copy.context.id != request().context.id
    assert first.context.extensions is copy.context.extensions == {}


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

    first = Response(200, body=b'{"a": 1}', request=request(read))
    assert (first.parse(), first.parse(), first.json() is first.json()) == ({"a": 1}, {"a": 1}, True)
    assert reads == [200]
    assert first.replace(headers=Headers({"A": "b"})).parse() is first.value
    assert first.replace(body=b"2").parse() == 2
    assert first.replace(status=201).parse() == {"a": 1}
    assert reads == [200, 200, 201]


@pytest.mark.parametrize(
    ("operation", "kind"), [("secret", oo.SecretError), ("env", oo.EnvError), ("proxy", oo.ProxyError)]
)
def test_the_json_of_a_body_that_has_none_is_the_operations_error(operation: Any, kind: type[Exception]) -> None:
    response = Response(200, body=CANARY.encode(), request=request(operation=operation))
    for _ in range(2):
        with pytest.raises(oo.DoubleOError) as caught:
            response.json()
        assert (type(caught.value), caught.value.reason) == (kind, "protocol")
        assert_ours(caught.value, CANARY)
