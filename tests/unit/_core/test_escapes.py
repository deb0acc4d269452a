"""Escapes: what they stand for and where, and at which places a text may be cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oo._core.escapes import CLASSES, EscapeSyntax, UnescapedView, boundary

SYNTAXES = list(dict.fromkeys(syntax for each in CLASSES for syntax in (*each.syntaxes, each.together)))
BITS = [rb"\\", b"\\", rb"\u", rb"\u00", rb"\u0041", rb"\ud83d", rb"\udd11", rb"\"", b"%", b"%4", b"%41", b"1", b"41"]
BITS += [b"u0041", b"&#", b"65;", b"&#65;", b"&amp;", b"&fjlig;", b"&#1;", b"n", b" ", b"a", b"\xc3\xa9"]
TEXTS = st.lists(st.tuples(st.sampled_from(BITS), st.sampled_from([1, 1, 2, 3, 600])), max_size=12).map(
    lambda drawn: b"".join(each * times for each, times in drawn)
)


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        (rb"\u0041\u00e9\u20ac\ud83d\udd11", "A\u00e9\u20ac\U0001f511".encode()),
        (rb"\"\\\/\b\f\n\r\t\q", b'"\\/\b\f\n\r\t\\q'),
        (rb"\\u0041", rb"\u0041"),
        (rb"\ud83d", b"\xed\xa0\xbd"),
        (b"%41%c3%A9%4x%", "A\u00e9%4x%".encode()),
        (b"&#65;&#x41;&#X41;&#0000065;&eacute;&fjlig;&amp;", "AAAA\u00e9fj&".encode()),
        (b"&#1;&zzz;&#65", b"&#1;&zzz;&#65"),
        (rb"a%41\u0042&#67;d", b"aABCd"),
    ],
)
def test_escapes_are_undone(text: bytes, plain: bytes) -> None:
    assert UnescapedView(text, CLASSES[-1].together).data == plain


@pytest.mark.parametrize("syntax", SYNTAXES)
@given(text=TEXTS, data=st.data())
def test_each_byte_is_found_where_it_stands(syntax: EscapeSyntax, text: bytes, data: st.DataObject) -> None:
    view = UnescapedView(text, syntax)
    if not view.data:
        return
    start = data.draw(st.integers(0, len(view.data) - 1))
    end = data.draw(st.integers(start + 1, len(view.data)))
    begin, stop = view.span(start, end)
    assert view.data[start:end] in UnescapedView(text[begin:stop], syntax).data
    assert len(UnescapedView(text[:begin], syntax).data) <= start
    assert len(UnescapedView(text[:stop], syntax).data) >= end


@given(TEXTS, st.integers(0, 3000))
def test_a_text_that_is_cut_at_a_boundary_has_the_escapes_of_the_whole(text: bytes, cut: int) -> None:
    cut = min(cut, len(text))
    here = boundary(text, cut)
    assert cut - 20 <= here <= cut
    for syntax in SYNTAXES:
        parts = [UnescapedView(part, syntax).data for part in (text[:here], text[here:])]
        assert b"".join(parts) == UnescapedView(text, syntax).data
