"""Context: what it begins with, what its copies share, and what it never shows."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

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


def test_no_two_calls_have_one_name() -> None:
    assert len({Context().id for _ in range(1000)}) == 1000


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")
def test_a_fork_draws_names_of_its_own() -> None:
    script = """
import os
from oo._http.context import Context
Context().id  # of a draw of many
reading, writing = os.pipe()
if not os.fork():
    os.write(writing, Context().id.encode())
    os._exit(0)
print(Context().id, os.read(reading, 32).decode())
"""
    ours, the_child_s = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout.split()
    assert len(ours) == len(the_child_s) == 32
    assert ours != the_child_s


def test_the_parser_of_a_client_reads_the_answer_and_without_one_it_is_its_own_value() -> None:
    own = ClientContext("secret", lambda response: response.status, "a-token", 5.0)
    assert Response(201, request=Request("GET", "http://x/", context=own)).parse() == 201
    answer = Response(201, request=Request("GET", "http://x/"))
    assert answer.parse() is answer


def test_its_repr_shows_no_token() -> None:
    assert repr(ClientContext("env", lambda _: None, "a-token")) == "<ClientContext of env>"
