"""Masks: what exactly is replaced, and that a stream, however it is cut, is masked as the whole is."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oo._core.masking import Mask, StreamMask

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


def spellings(value: str) -> list[bytes]:
    raw = value.encode()
    return [
        raw,
        b"".join(rb"\u%04x" % each for each in raw),
        b"".join(b"%%%02X" % each for each in raw),
        b"".join(b"&#%d;" % each for each in raw),
        base64.b64encode(raw),
        base64.b64encode(b"x" + raw),
        raw[:3] + b"%%%02x" % raw[3] + raw[4:],
        raw[:3] + rb"\u%04x" % raw[3] + raw[4:],
    ]


NESTED = ["acme-id", "acme-id-5f0c-the-rest", "5f0c", "rest-acme", "aaaa"]
WORDS = [each for value in NESTED for each in (*spellings(value), value[:3].encode(), value[2:].encode())]


@given(
    st.lists(st.sampled_from([*WORDS, b"a", b"-", b"x", b"", b"\xff", b"% ", b"&", b"\\\\", b"***"]), max_size=8),
    st.data(),
)
def test_a_masked_stream_is_the_masked_whole_of_which_no_value_is_left(words: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(words)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=6)))
    mask = Mask(NESTED)
    stream = StreamMask(mask)
    pieces = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    masked = mask.data(whole)
    assert b"".join(stream.feed(piece) for piece in pieces) + stream.finish() == masked
    assert mask.data(masked) == masked


@given(st.lists(st.lists(st.sampled_from([*WORDS, b"a", b"-", b"%", b"&", b"\\"]), max_size=4), max_size=5))
def test_each_text_of_a_json_is_masked_as_it_is_alone(texts: list[list[bytes]]) -> None:
    mask = Mask(NESTED)
    alone = [b"".join(words).decode() for words in texts]
    masked = [mask.text(text) for text in alone]
    assert mask.json(list(alone)) == masked
    assert mask.json([{"k": {text: [text, 1, None]}} for text in alone]) == [
        {"k": {text: [text, 1, None]}} for text in masked
    ]


@pytest.mark.parametrize("cut", range(1, 28))
def test_a_value_that_begins_with_another_is_masked_whole_wherever_it_is_cut(cut: int) -> None:
    stream = StreamMask(Mask(["acme-id-5f0c", "acme-id-5f0c-the-rest-of-it"]))
    whole = b"acme-id-5f0c-the-rest-of-it"
    assert stream.feed(whole[:cut]) + stream.feed(whole[cut:]) + stream.finish() == b"***"


def test_a_value_that_overlaps_itself_without_end_is_not_held_back() -> None:
    stream = StreamMask(Mask(["aaaa"]))
    for n in range(200):
        stream.feed(b"a" * 7)
        assert len(stream._rest) < 8, n
    assert stream.feed(b"b") == b"b"


def test_what_cannot_be_part_of_a_value_is_not_held_back() -> None:
    stream = StreamMask(Mask(["secret-value"]))
    assert stream.feed(b"data: hello\n\n") == b"data: hello\n\n"
    assert stream.feed(b"and sec") == b"and "
    assert stream.feed(b"ond") == b"second"


def test_a_value_that_overlaps_itself_is_masked_to_its_last_end() -> None:
    assert Mask(["aaaa"]).data(b"b" + b"a" * 5 + b"b") == b"b***b"


def test_an_escape_of_which_a_value_is_a_part_is_replaced_whole() -> None:
    # An entity of HTML may stand for two characters.
    assert Mask(["just-a-value"]).data(b"of &fjlig;ust-a-value.") == b"of ***."
    assert Mask(["a-value-of-f"]).data(b"a-value-of-&fjlig;.") == b"***."


def test_a_stream_of_nothing_is_masked_to_nothing() -> None:
    assert StreamMask(Mask(["secret-value"])).finish() == b""
