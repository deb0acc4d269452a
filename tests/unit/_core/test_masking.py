"""Masks: what exactly is replaced, and that a stream, however it is cut, is masked as the whole is."""

from __future__ import annotations

import base64
import random
import string
import time
from collections.abc import Callable

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from oo._core.masking import (
    SHORTEST,
    STEP,
    Mask,
    SeenValues,
    StreamMask,
    basic_values,
    cut_off,
    steps_of,
    weight_of,
)

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
        (PLAIN, rb"%74\u0068&#101;&#x2d;value-\u0078"),
        (FOREIGN, rb"g%c3%a9heim-w\u00f6rt-&#x1f511;"),
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


NESTED = ["acme-id1", "acme-id1-5f0c-the-rest", "5f0c-the", "rest-acme", "aaaaaaaa"]
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


def test_a_value_that_overlaps_itself_is_masked_to_its_last_end() -> None:
    assert Mask(["aaaaaaaa"]).data(b"b" + b"a" * 10 + b"b") == b"b***b"


@pytest.mark.parametrize("value", ["secret-value", 'a "pass phrase"', FOREIGN, "two\nlines"])
def test_a_text_of_nothing_but_what_a_value_may_hold_flows(value: str) -> None:
    stream, went, most = StreamMask(Mask([value])), 0, 64 * len(value.encode()) + 64
    for n in range(1, 400):
        went += len(stream.feed(b"QUJD%41" * 30))
        assert 210 * n - went <= most, n


@pytest.mark.parametrize(
    "end", ['{"a": "b"}', "data: {}\n\n", "<p>text</p>", "text ", "(text)", "[1, 2]", "'text'", "\u00e9"]
)
def test_what_json_events_and_html_end_in_passes_at_once(end: str) -> None:
    assert StreamMask(Mask(["secret-value"])).feed(end.encode()) == end.encode()


@pytest.mark.parametrize("value", ["a pass phrase", 'with "quotes"', "back\\slash", "w\u00f6rter-viele"])
def test_of_a_value_of_any_class_but_the_widest_nothing_is_held_back_behind_the_end_of_a_line(value: str) -> None:
    stream = StreamMask(Mask([value]))
    assert stream.feed(b"data: hello\n\n") == b"data: hello\n\n"
    assert (stream.feed(b"and sec"), stream.feed(b"ond\n")) == (b"", b"and second\n")


def test_what_is_held_back_is_the_last_word_and_goes_on_with_the_next() -> None:
    stream = StreamMask(Mask(["secret-value"]))
    assert [stream.feed(piece) for piece in (b"and oth", b"er", b" words")] == [b"and ", b"", b"other "]
    assert stream.finish() == b"words"


ALPHABETS = {
    "token": string.ascii_letters + string.digits + "-._~+/=:",
    "printable": string.printable[:95],
    "foreign": string.ascii_letters + "\u00e9\u00df\u20ac\u6f22\U0001f511",
}
MARKS = {"token": "", "printable": ' "\\', "foreign": "\u00e9"}


@pytest.mark.parametrize("kind", ALPHABETS)
@given(data=st.data())
def test_two_values_of_a_class_and_length_give_the_same_pieces_at_the_same_moments(
    kind: str, data: st.DataObject
) -> None:
    length = data.draw(st.integers(8, 12))
    of_kind = st.text(ALPHABETS[kind], min_size=length, max_size=length)
    # The widest character makes the class; the first of each is the same kind.
    one, other = (MARKS[kind] + data.draw(of_kind) for _ in range(2))
    guesses = [value[:n].encode() for value in (one, other) for n in range(1, len(value))]
    spelled = [b"".join(b"%%%02x" % each for each in guess) for guess in guesses]
    coded = [base64.b64encode(guess) for guess in guesses]
    words = st.sampled_from([*guesses, *spelled, *coded, b" ", b'"', b"\n", b"x" * 100, b"%", b"\\u00", b"&#"])
    pieces = data.draw(st.lists(st.lists(words, max_size=4).map(b"".join), max_size=8))
    masks = Mask([one]), Mask([other])
    whole = b"".join(pieces)
    assume(all(mask.data(whole) == whole for mask in masks))
    first, second = map(StreamMask, masks)
    for piece in pieces:
        assert first.feed(piece) == second.feed(piece)
    assert first.finish() == second.finish()


AWKWARD = ["secret-value%41", 'pa"ss wo\\rd', "w\u00f6rt-\U0001f511-x", "two\nlines", "u0041u0041"]
BITS = [rb"\\", b"\\", rb"\u", rb"\u00", rb"\u0041", rb"\ud83d", rb"\udd11", rb"\"", b"%", b"%4", b"%41", b"1", b"41"]
BITS += [b"u0041", b"&#", b"65;", b"&#65;", b"&amp;", b"&#0;", b"&#1;", b"n", b" ", b"\n", b"a"]


@pytest.mark.parametrize("value", [PLAIN, *AWKWARD])
@given(data=st.data())
def test_a_stream_of_long_runs_is_the_masked_whole_however_it_is_cut(value: str, data: st.DataObject) -> None:
    words = st.sampled_from([*BITS, *spellings(value)])
    repeated = st.tuples(words, st.sampled_from([1, 1, 2, 3, 70, 200])).map(lambda drawn: drawn[0] * drawn[1])
    whole = b"".join(data.draw(st.lists(repeated, max_size=8)))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=6)))
    mask = Mask([value])
    stream = StreamMask(mask)
    pieces = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    assert b"".join(map(stream.feed, pieces)) + stream.finish() == mask.data(whole)


@given(st.text("ab%\\u04&#;1 ", max_size=60).map(str.encode), st.integers(0, 60))
def test_the_head_of_a_text_is_that_of_the_masked_whole(data: bytes, size: int) -> None:
    value = b"the-value-x"
    whole = data[:size] + value + data[size:]
    for cut in range(size, size + len(value) + 1):
        head = Mask([value.decode()]).head(whole, cut)
        assert b"the-" not in head
        assert Mask([value.decode()]).data(whole).startswith(head)


@pytest.mark.parametrize("length", range(5, 11))
def test_a_value_of_fewer_than_eight_characters_is_left_alone(length: int) -> None:
    value = "abcdefghijk"[:length]
    text = f"of {value}, {base64.b64encode(value.encode()).decode()}"
    assert (Mask([value]).text(text) == text) == (length < SHORTEST)
    stream = StreamMask(Mask([value]))
    assert (stream.feed(b"word") == b"word") == (length < SHORTEST)


HOSTILE = {
    "plain": b"the quick brown fox ",
    "begun": b"the-value-",
    "URL": b"%41",
    "URL by turns": b"a%41",
    "JSON": rb"\u0041",
    "HTML": b"&#65;",
    "hex": b"&#x41;",
    "all by turns": rb"%41\u0041&#65;",
    "names": b"&amp;",
    "no names": b"&abcdefg;",
    "marks": b"%",
    "slashes": b"\\",
    "ands": b"&",
    "no characters": b"&#1;",
    "surrogates": rb"\ud83d",
    "digits": b"&#1234567",
}


@pytest.mark.parametrize("unit", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("value", [PLAIN, FOREIGN])
def test_the_cost_of_masking_grows_as_the_text_does(value: str, unit: bytes) -> None:
    def cost(size: int) -> float:
        data, mask = (unit * (size // len(unit) + 1))[:size], Mask([value])
        times = []
        for _ in range(3):
            began = time.process_time()
            mask.data(data)
            times.append(time.process_time() - began)
        return min(times)

    cost(1 << 12)
    # Quadratic would be 1,024 times as much.
    assert cost(1 << 18) <= 32 * 10 * max(cost(1 << 13), 1e-4)


@pytest.mark.parametrize("size", [0, 1, STEP, STEP + 1, 3 * STEP])
def test_the_steps_of_a_text_are_small_and_are_the_text(size: int) -> None:
    data = random.Random(1).randbytes(size)
    steps = list(steps_of(data))
    assert b"".join(steps) == data
    assert max(map(len, steps)) <= STEP <= 64 << 10


DENSE = (b"%41", b"\\n%41", b"&amp;", b"%41&#65;\\u0041")


@pytest.mark.parametrize("unit", DENSE)
@pytest.mark.parametrize("size", [STEP // 4, STEP, 3 * STEP + 1])
def test_the_steps_of_what_is_dense_with_escapes_are_smaller(unit: bytes, size: int) -> None:
    data = (unit * size)[:size]
    steps = list(steps_of(data))
    assert b"".join(steps) == data
    assert max(map(len, steps)) <= STEP // 4
    assert max(map(weight_of, steps)) <= STEP


def test_a_text_with_some_escapes_is_not_dense() -> None:
    assert weight_of(b'{"a": "a line\\n"}' * 100) == 1700
    assert weight_of(b"") == 0


def coded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("header", "masked"),
    [
        (f"Basic {coded('user:the-password')}", {"user:the-password", ":the-password", "the-password"}),
        (f"basic  {coded('user:pass:word')} ", {"user:pass:word", ":pass:word", "pass:word"}),
        (f"Basic {coded('the-key-alone:')}", {"the-key-alone:", "the-key-alone"}),
        ("BASIC YTo-Pj4_Pz8-Pj4_", {"a:>>>???>>>?", ":>>>???>>>?", ">>>???>>>?"}),
        ("Basic " + base64.b64encode(b"a:\xe9\xe9").decode(), {"a:\u00e9\u00e9", ":\u00e9\u00e9", "\u00e9\u00e9"}),
        (f"Bearer {coded('user:the-password')}", set()),
        ("Basic not base64!", set()),
        ("Basic \u00e9", set()),
        ("Basic", set()),
    ],
)
def test_of_basic_credentials_what_they_decode_to_is_masked(header: str, masked: set[str]) -> None:
    assert {each for each in basic_values(header) if len(each) > 1} == masked


def test_what_is_remembered_is_bounded_in_number_and_in_bytes_and_the_last_is_masked() -> None:
    for length, count in ((10, 2000), (2000, 300), (60_000, 30), (1 << 20, 2)):
        seen = SeenValues()
        for n in range(count):
            value = f"{n}-".ljust(length, "x")
            seen.add(value)
            if length <= 60_000:
                assert seen.mask().text(f"of {value}.") == "of ***."
        kept = [*seen.recent.items(), *seen._old.items()]
        assert len(kept) <= 512
        assert sum(len(value) + sum(map(len, known.forms)) for value, known in kept) <= 1 << 20


def test_a_mask_of_what_is_remembered_takes_in_what_is_new_without_building_the_old_anew() -> None:
    seen = SeenValues()
    for n in range(200):
        seen.add(f"the-value-{n}")
    known = dict(seen.recent)
    seen.add("another-value")
    assert seen.mask().text("the-value-7, another-value") == "***, ***"
    assert all(seen.recent[value] is kept for value, kept in known.items())


def test_an_escape_of_which_a_value_is_a_part_is_replaced_whole() -> None:
    # An entity of HTML may stand for two characters.
    assert Mask(["just-a-value"]).data(b"of &fjlig;ust-a-value.") == b"of ***."
    assert Mask(["a-value-of-f"]).data(b"a-value-of-&fjlig;.") == b"***."


def test_a_stream_of_nothing_is_masked_to_nothing() -> None:
    assert StreamMask(Mask(["secret-value"])).finish() == b""


TOKEN = "oo_" + "aB3" * 16 + "x"


@pytest.mark.parametrize("length", [12, 13, 20, 51])
@pytest.mark.parametrize(
    "spelled",
    [
        lambda text: text.encode(),
        lambda text: base64.b64encode(b"user:" + text.encode()).rstrip(b"="),
        lambda text: b"".join(b"%%%02X" % each for each in text.encode()),
        lambda text: "".join(f"\\u{ord(each):04x}" for each in text).encode()[:-3],
    ],
)
def test_a_beginning_that_the_end_cuts_is_left_out(spelled: Callable[[str], bytes], length: int) -> None:
    begun = spelled(TOKEN[: length + 2])
    assert cut_off(b"it is " + begun, TOKEN) in (b"it is ***", b"it is " + begun[:7] + b"***")


@pytest.mark.parametrize("text", ["it is {}, and goes on", "{} is it: 123456789", "it is", ""])
def test_a_beginning_that_does_not_go_on_is_left_as_it_is(text: str) -> None:
    data = text.format(TOKEN[:20]).encode()
    assert cut_off(data, TOKEN) == data
