"""Headers, Request, Response and strict JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import oo
from oo import Headers, Request, Response
from oo._http.context import ClientContext, Context
from oo._http.json import parse_json
from tests.support.examples import EXAMPLES
from tests.support.probing import assert_ours

CANARY = "canary-5501"
URL = "http://localhost:3001"
NAMES = st.sampled_from(["A", "a", "B", "b", "X-A", "x-a", "X-a", "\u00c9"])
PAIRS = st.lists(st.tuples(NAMES, st.text("abc, \t", max_size=3)))


def request(parse: Any = lambda _response: 1, operation: Any = "proxy", **settings: Any) -> Request:
    settings.setdefault("headers", Headers({"X-A": "1"}))
    context = ClientContext(operation, parse, CANARY)
    return Request("GET", f"{URL}/api/x?q={CANARY}", base_url=URL, context=context, **settings)


@EXAMPLES
@given(PAIRS, NAMES, st.text("abc", max_size=3))
def test_headers_against_a_model(pairs: list[tuple[str, str]], name: str, value: str) -> None:
    model: dict[str, list[str]] = {}
    for field, each in pairs:
        model.setdefault(field.lower(), []).append(each)
    headers = Headers(iter(pairs))
    assert headers.pairs() == tuple(pairs)
    assert (list(headers), len(headers)) == (list(model), len(model))
    assert dict(headers) == {field: ", ".join(values) for field, values in model.items()}
    for spelling in (name, name.lower(), name.upper()):
        assert headers.get_all(spelling) == model.get(name.lower(), [])
        assert (spelling in headers) == (name.lower() in model)
        assert headers.get(spelling) == (", ".join(model[name.lower()]) if name.lower() in model else None)
    others = tuple(pair for pair in pairs if pair[0].lower() != name.lower())
    assert headers.replace(name, value).pairs() == (*others, (name, value))
    assert headers.pairs() == tuple(pairs)


def test_headers_are_a_mapping_that_cannot_be_changed() -> None:
    headers = Headers({"Content-Type": "text/plain"})
    assert headers["CONTENT-TYPE"] == "text/plain"
    assert Headers() == Headers([]) == {}
    with pytest.raises(KeyError):
        _ = headers["Content"]
    with pytest.raises(TypeError):
        headers["A"] = "b"  # type: ignore[index]  # that is the point
    assert Headers(headers).pairs() == (("content-type", "text/plain"),)


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


def strict(text: str) -> Any:
    def refuse(name: str) -> None:
        raise ValueError(name)

    return json.loads(text, parse_constant=refuse)


TEXTS = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=3), inner, max_size=4)),
    max_leaves=8,
).flatmap(
    lambda value: st.builds(
        # st.text() holds no halves of characters, which UTF-8 has not.
        lambda ascii_only, indent: json.dumps(value, ensure_ascii=ascii_only, indent=indent),
        st.booleans(),
        st.sampled_from([None, 0, 2]),
    )
)
SPACE = st.text(" \t\r\n", max_size=3)


@EXAMPLES
@given(SPACE, TEXTS, SPACE)
def test_json_is_read_as_the_standard_library_reads_it(before: str, text: str, after: str) -> None:
    body = (before + text + after).encode()
    assert parse_json(body) == strict(text)


CUTS = st.tuples(TEXTS, st.integers(0, 30), st.sampled_from(["", "]", "}", '"', ",", "\\", "\0", "NaN", "\ufeff", "1"]))
BODIES = st.one_of(
    st.binary(),
    st.text('{}[]",:\\ue0179+-.eE truefalsn\n\0\x0b\ufeff').map(str.encode),
    CUTS.map(lambda cut: (cut[0][: cut[1]] + cut[2] + cut[0][cut[1] :]).encode()),
)


@EXAMPLES
@given(BODIES)
def test_any_bytes_are_json_or_one_error_of_ours(body: bytes) -> None:
    try:
        expected = [strict(body.decode())]
    except ValueError:
        expected = []
    if expected:
        assert [parse_json(body)] == expected
        return
    with pytest.raises(oo.DoubleOError) as caught:
        parse_json(body)
    assert (type(caught.value), caught.value.reason) == (oo.DoubleOError, "protocol")
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)


NO_JSON: dict[str, bytes] = {
    "nothing": b"",
    "blanks": b" \n",
    "a form feed": b"\x0c1",
    "a no-break space": b"\xc2\xa01",
    "two BOMs": b'\xef\xbb\xbf\xef\xbb\xbf{"a": 1}',
    "a BOM behind": b'{"a": 1}\xef\xbb\xbf',
    "UTF-16": '{"a": 1}'.encode("utf-16-le"),
    "Latin-1": b'"\xe9"',
    "an overlong slash": b'"\xc0\xaf"',
    "a surrogate in UTF-8": b'"\xed\xa0\x80"',
    "NaN": b"[NaN]",
    "infinity": b"[Infinity]",
    "minus infinity": b'{"a": -Infinity}',
    "100,000 lists": b"[" * 100_000 + b"]" * 100_000,
    "100,000 objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "100,000 open lists": b"[" * 100_000,
    "5,000 digits": b"9" * 5000,
    "minus 5,000 digits": b"[-" + b"9" * 5000 + b"]",
    "a leading nought": b"01",
    "a plus": b"+1",
    "a bare dot": b"1.",
    "hexadecimal": b"0x1",
    "two values": b"1 2",
    "a comment": b"1 // one",
    "a control character in a string": b'"\x00"',
    "half an escape": b'"\\u12"',
    "full-width digits": "\uff11".encode(),
}


@pytest.mark.parametrize("body", NO_JSON.values(), ids=NO_JSON)
def test_what_is_no_json_is_one_error_that_does_not_show_it(body: bytes) -> None:
    with pytest.raises(oo.DoubleOError, match=r"an empty body|not JSON") as caught:
        parse_json(body)
    error = caught.value
    assert (type(error), error.reason, error.retryable) == (oo.DoubleOError, "protocol", False)
    assert (error.__cause__, error.__context__) == (None, None)
    assert len(str(error)) < 80


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"a": 1, "b": 2, "a": 3}', {"a": 3, "b": 2}),
        (b'"\\ud83d\\ude00"', "\U0001f600"),
        (b'"\\ud800"', "\ud800"),
        (b"9" * 4000, int("9" * 4000)),
        (b"1e999", float("inf")),
        (b"-0.0", 0.0),
        (b'""', ""),
        (b" null\r\n", None),
        (b'\xef\xbb\xbf {"a": 1}', {"a": 1}),
        (b"[" * 100 + b"]" * 100, json.loads("[" * 100 + "]" * 100)),
    ],
    ids=[
        "duplicates",
        "a pair",
        "half a pair",
        "4,000 digits",
        "too large",
        "minus nought",
        "empty",
        "null",
        "BOM",
        "deep",
    ],
)
def test_what_the_grammar_allows_is_read(body: bytes, value: Any) -> None:
    assert parse_json(body) == value
