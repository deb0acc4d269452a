"""Context: what it begins with, what its copies share, and what it never shows."""

from __future__ import annotations

from oo._client.operations import ClientContext
from oo._http.context import Context
from oo._http.request import Request
from oo._http.response import Response


def test_a_context_begins_with_nothing_done() -> None:
    context = Context()
    assert (context.operation, context.started, context.attempts, context.cache) == ("proxy", 0.0, 0, "miss")
    assert (list(context.timeline), context.token, context.cache_ttl, context.extensions) == ([], "", None, {})


def test_a_client_has_no_route_that_sets_anything() -> None:
    assert Context().settings("any") == {}


def test_what_one_call_sets_no_other_sees() -> None:
    first, second = Context(), Context()
    first.attempts, first.extensions["a"] = 2, 1
    first.timeline.append(("attempt", 0.0))
    assert (second.attempts, second.extensions, second.timeline) == (0, {}, [])
    assert first.timeline == [("attempt", 0.0)]
    assert first.id == first.id != second.id
    assert len(first.id) == 32


def test_the_parser_of_a_client_reads_the_answer_and_without_one_it_is_its_own_value() -> None:
    own = ClientContext("secret", lambda response: response.status, "a-token", 5.0)
    assert Response(201, request=Request("GET", "http://x/", context=own)).parse() == 201
    answer = Response(201, request=Request("GET", "http://x/"))
    assert answer.parse() is answer


def test_its_repr_shows_no_token() -> None:
    assert repr(ClientContext("env", lambda _: None, "a-token")) == "<ClientContext of env>"
