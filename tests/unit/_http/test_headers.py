"""Headers: a mapping that keeps what was written, and the grammar of a field."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oo import DoubleOError, Headers
from oo._http.headers import field_text, validated_headers
from tests.support.examples import EXAMPLES

NAMES = st.sampled_from(["A", "a", "B", "b", "X-A", "x-a", "X-a", "\u00c9"])
PAIRS = st.lists(st.tuples(NAMES, st.text("abc, \t", max_size=3)))


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


def test_a_repr_shows_names_alone() -> None:
    assert repr(Headers([("X-A", "value"), ("x-a", "value"), ("B", "value")])) == "<Headers x-a, b>"


@pytest.mark.parametrize(
    "pairs",
    [
        [],
        [("X-A", "1")],
        [("X-A", ""), ("B", " a\tb ")],
        [("!#$%&'*+.^_`|~09Az-", "any")],
        [("X-A", "g\u00fc\U0001f511")],
    ],
)
def test_fields_within_the_grammar_are_sent_as_they_are(pairs: list[tuple[str, str]]) -> None:
    assert list(validated_headers(Headers(pairs))) == pairs


def test_a_repeated_field_is_sent_under_its_first_name() -> None:
    headers = Headers([("X-A", "1"), ("B", "2"), ("x-a", "3")])
    assert list(validated_headers(headers)) == [("X-A", "1"), ("B", "2"), ("X-A", "3")]


@pytest.mark.parametrize("name", ["", "A B", "A:", "A\r\n", "\u00c4", "A\0"])
def test_a_name_outside_the_grammar_is_refused_and_not_shown(name: str) -> None:
    with pytest.raises(DoubleOError, match=r"^a header holds a character that no header has$") as caught:
        validated_headers(Headers([("B", "1"), (name, "2")]))
    assert caught.value.reason == "argument"


@pytest.mark.parametrize("character", ["\r", "\n", "\0", "\x1b", "\x7f", "\ud800"])
def test_a_value_outside_the_grammar_is_refused_and_not_shown(character: str) -> None:
    with pytest.raises(DoubleOError, match=r"^a header holds a character that no header has$") as caught:
        validated_headers(Headers([("A", f"secret{character}value"), ("B", "1")]))
    assert caught.value.reason == "argument"


@pytest.mark.parametrize(
    ("raw", "text"), [(b"plain", "plain"), ("\u00fc\u20ac".encode(), "\u00fc\u20ac"), (b"\xfc", "\u00fc"), (b"", "")]
)
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_a_value_is_utf_8_where_its_bytes_are_that_else_latin_1(raw: bytes, text: str, encoding: str) -> None:
    assert field_text(raw.decode(encoding, "surrogateescape"), encoding) == text


def test_setting_one_in_place_says_what_to_do() -> None:
    with pytest.raises(TypeError, match=r"request\.with_header\(name, value\)"):
        Headers()["X-Team"] = "blue"  # type: ignore[index]  # as a middleware of another library would
