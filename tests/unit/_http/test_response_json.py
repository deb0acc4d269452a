"""Strict JSON: what it reads is what the standard library reads, and what it refuses is one error of ours."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import oo
from oo._http.response import parse_json
from tests.support.examples import EXAMPLES


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
        expected = [strict(body.decode().removeprefix("\ufeff"))]
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
