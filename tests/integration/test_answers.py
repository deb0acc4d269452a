"""Answers: whatever a server says, in any status, is a value of the promised type or one of the four errors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import oo
from oo._client import operations, proxied
from oo.exceptions import ERROR_OF
from tests.support.probing import assert_ours

TOKEN = "a-token-for-answers"
TARGET = operations.RequestFactory("http://localhost:3001", 30)


def is_text(value: object) -> bool:
    return isinstance(value, str) and not any(0xD800 <= ord(character) < 0xE000 for character in value)


def is_json(value: object) -> bool:
    if isinstance(value, list):
        return all(map(is_json, value))
    if isinstance(value, dict):
        return all(isinstance(key, str) and is_json(each) for key, each in value.items())
    return value is None or isinstance(value, (str, int, float, bool))


def is_environment(value: object) -> bool:
    return isinstance(value, Mapping) and all(map(is_text, [*value, *value.values()]))


READERS: dict[str, tuple[oo.Request, Any]] = {
    "secret": (operations.fetch(TARGET.secret, TOKEN), is_text),
    "env": (operations.fetch(TARGET.env, TOKEN), is_environment),
    "proxy": (proxied.proxy(TARGET, "v1/x", TOKEN), is_json),
    "HEAD": (proxied.proxy(TARGET, "v1/x", TOKEN, "HEAD"), is_json),
    "chat": (proxied.chat(TARGET, TOKEN, [], "m", {}), lambda value: isinstance(value, dict) and is_json(value)),
    "health": (operations.health(TARGET), lambda value: value is True),
}


def outcome(response: oo.Response) -> Any:
    try:
        return response.parse()
    except oo.DoubleOError as error:
        return error


LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
WORDS = st.sampled_from(["value", "secrets", "error", "message", "detail"]) | st.text(max_size=9)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=4), max_leaves=12
)
LIKELY = st.fixed_dictionaries(
    {}, optional={"value": VALUES, "secrets": VALUES | st.dictionaries(st.text(), st.text()), "error": VALUES}
)
ENCODED = (VALUES | LIKELY).map(lambda value: json.dumps(value).encode())
CUT = st.tuples(ENCODED, st.integers(0, 40)).map(lambda pair: pair[0][: len(pair[0]) - pair[1]])
BODIES = st.binary() | ENCODED | CUT
STATUSES = st.sampled_from([200, 200, 201, 204, 205, 299, 301, 400, 401, 403, 404, 429, 500, 503]) | st.integers(0, 999)
FIELDS = st.dictionaries(st.sampled_from(["X-Request-Id", "Retry-After", "Content-Type"]), st.text(max_size=20))


@pytest.mark.parametrize("name", READERS)
@given(STATUSES, BODIES, FIELDS)
@example(200, b'{"value": "\\ud800", "secrets": {"\\ud800": ""}, "error": ""}', {})
@example(200, b'{"error": "\\ud800 token"}', {})
@example(400, b'{"error": "\\ud800"}', {})
@example(200, b'{"value": "a", "value": 1, "secrets": {}, "secrets": []}', {})
@example(200, b'{"value": ' + b"9" * 5000 + b"}", {})
@example(200, b'{"value": 1e999}', {})
@example(200, b'\xef\xbb\xbf{"value": "v"}', {})
@example(200, b"[" * 100_000, {})
@example(429, b"", {"Retry-After": "9" * 5000, "X-Request-Id": "\ud800"})
def test_any_answer_is_a_value_or_one_of_the_four(name: str, status: int, body: bytes, fields: dict[str, str]) -> None:
    request, is_promised = READERS[name]
    end = outcome(oo.Response(status, oo.Headers(fields), body, request=request))
    if isinstance(end, oo.DoubleOError):
        assert type(end) in (ERROR_OF[request.operation], oo.AuthenticationError)
        assert (end.status, end.reason in ("status", "answer", "protocol")) == (status, True)
        assert_ours(end, TOKEN)
    else:
        assert 200 <= status < 300
        assert is_promised(end)


@pytest.mark.parametrize("name", ["secret", "env", "proxy"])
@given(value=st.text(), status=st.integers(200, 299))
def test_what_a_server_means_is_what_a_caller_gets(name: str, value: str, status: int) -> None:
    request, _ = READERS[name]
    answers = {"secret": ({"value": value}, value), "env": ({"secrets": {"A": value}}, {"A": value})}
    sent, wanted = answers.get(name, ([value], [value]))
    # Both ways to write what is not ASCII.
    for ascii_only in (True, False):
        body = json.dumps(sent, ensure_ascii=ascii_only).encode("utf-8")
        assert oo.Response(status, body=body, request=request).parse() == wanted
