"""Masks: what exactly is replaced, and that a stream, however it is cut, is masked as the whole is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oo._masking import Mask, StreamMask

PLAIN = "the-value-x"
FOREIGN = "g\u00e9heim-w\u00f6rt-\U0001f511"


@pytest.mark.parametrize(
    ("value", "spelled"),
    [
        (PLAIN, rb"\u0074he-value-x"),
        (PLAIN, rb"the-v\u0061lue-x"),
        (PLAIN, rb"the-value-\u0078"),
        (PLAIN, rb"\u0074\u0068\u0065\u002d\u0076\u0061\u006c\u0075\u0065\u002d\u0078"),
        (PLAIN, b"%74he-value-%78"),
        (PLAIN, b"&#116;he-value-&#x78;"),
        (FOREIGN, rb"g\u00e9heim-w\u00f6rt-\ud83d\udd11"),
        (FOREIGN, b"g%c3%a9heim-w%C3%B6rt-%f0%9f%94%91"),
        (FOREIGN, b"g&eacute;heim-w&#246;rt-&#x1f511;"),
    ],
)
def test_an_escaped_value_is_replaced_from_its_first_escape_to_its_last_and_nothing_else_is(
    value: str, spelled: bytes
) -> None:
    whole = rb'"\u0061 ' + spelled + rb'\u0021" %41&amp;' + spelled + b"!"
    masked = rb'"\u0061 ***\u0021" %41&amp;***!'
    assert Mask([value]).data(whole) == masked
    for cut in range(len(whole) + 1):
        stream = StreamMask(Mask([value]))
        assert stream.feed(whole[:cut]) + stream.feed(whole[cut:]) + stream.finish() == masked


@pytest.mark.parametrize("text", [rb"\ud800 x", rb"\udc00\ud800", rb"x \ud83d", b"&#xd800; &#1114112;", b"%ff%fe"])
@pytest.mark.parametrize("value", [PLAIN, FOREIGN])
def test_an_escape_of_what_is_no_character_stays_as_it_is(value: str, text: bytes) -> None:
    assert Mask([value]).data(text) == text
    stream = StreamMask(Mask([value]))
    assert b"".join(stream.feed(bytes([each])) for each in text) + stream.finish() == text


@given(st.lists(st.sampled_from([b"abcdef", b"abc", b"def", b"ab", b"x", b"", b"\xff"]), max_size=12), st.data())
def test_a_masked_stream_is_the_masked_whole(words: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(words)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=6)))
    mask = Mask(["abcdef"])
    stream = StreamMask(mask)
    pieces = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    assert b"".join(stream.feed(piece) for piece in pieces) + stream.finish() == mask.data(whole)


def test_what_cannot_be_part_of_a_value_is_not_held_back() -> None:
    stream = StreamMask(Mask(["secret-value"]))
    assert stream.feed(b"data: hello\n\n") == b"data: hello\n\n"
    assert stream.feed(b"and sec") == b"and "
    assert stream.feed(b"ond") == b"second"
