from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oo._http.sse import EventDecoder, LineDecoder, ServerEvent
from oo.exceptions import DoubleOError

# Each with what the standard's own parsing rules make of it.
STREAMS = [
    (b"data: a\n\n", [ServerEvent("a")]),
    (b"data:a\r\rdata:b\r\n\r\n", [ServerEvent("a"), ServerEvent("b")]),
    (b"data: a\ndata: b\n\n", [ServerEvent("a\nb")]),
    (b"data\n\ndata\ndata\n\ndata:", [ServerEvent(""), ServerEvent("\n")]),
    (b"data:test\n\ndata: test\n\n", [ServerEvent("test"), ServerEvent("test")]),
    (b"data:  two spaces\n\n", [ServerEvent(" two spaces")]),
    (b": comment\n\n:\n\ndata: x\n\n", [ServerEvent("x")]),
    (b"event: add\ndata: 1\n\ndata: 2\n\n", [ServerEvent("1", "add"), ServerEvent("2")]),
    (b"event: add\n\ndata: 2\n\n", [ServerEvent("2")]),
    (
        b"id: 7\ndata: 1\n\ndata: 2\n\nid\ndata: 3\n\n",
        [ServerEvent("1", id="7"), ServerEvent("2", id="7"), ServerEvent("3")],
    ),
    (b"id: a\0b\ndata: 1\n\n", [ServerEvent("1")]),
    (b"retry: 10\ndata: 1\n\n", [ServerEvent("1", retry=10)]),
    (b"retry: 1x\nretry: -1\nretry: \xd9\xa3\ndata: 1\n\n", [ServerEvent("1")]),
    (b"\xef\xbb\xbfdata: bom\n\n", [ServerEvent("bom")]),
    (b"\xef\xbb\xbf\xef\xbb\xbfdata: two\n\n", []),
    ("data: h\u00e9llo \U0001f600\n\n".encode(), [ServerEvent("h\u00e9llo \U0001f600")]),
    (b"data: \xff\n\n", [ServerEvent("\ufffd")]),
    (b"data: incomplete\n", []),
    (b"datas: x\nDATA: x\n\n", []),
    (b'data: {"a": "b:c"}\n\n', [ServerEvent('{"a": "b:c"}')]),
]


def whole(stream: bytes) -> list[ServerEvent]:
    return list(EventDecoder(1000).feed(stream))


@pytest.mark.parametrize(("stream", "events"), STREAMS)
def test_events_follow_the_standard(stream: bytes, events: list[ServerEvent]) -> None:
    assert whole(stream) == events


@pytest.mark.parametrize(("stream", "events"), STREAMS)
def test_events_are_the_same_byte_by_byte(stream: bytes, events: list[ServerEvent]) -> None:
    parser = EventDecoder(1000)
    assert [event for n in range(len(stream)) for event in parser.feed(stream[n : n + 1])] == events


fields = st.sampled_from(
    [b"data", b"data:", b"data: x", b"event: e", b"id: 1", b"id", b"retry: 5", b":c", b"", b"\xc3\xa9"]
)
ends = st.sampled_from([b"\n", b"\r", b"\r\n"])


@given(st.lists(st.tuples(fields, ends)), st.lists(st.integers(0, 80)))
def test_where_the_bytes_are_cut_changes_nothing(lines: list[tuple[bytes, bytes]], cuts: list[int]) -> None:
    stream = b"".join(field + end for field, end in lines)
    parser, pieces, last = EventDecoder(1000), [], 0
    for cut in [*sorted(cut for cut in cuts if cut <= len(stream)), len(stream)]:
        pieces.append(stream[last:cut])
        last = cut
    assert [event for piece in pieces for event in parser.feed(piece)] == whole(stream)


def test_an_event_is_there_as_soon_as_its_blank_line_is() -> None:
    parser = EventDecoder(100)
    assert list(parser.feed(b"data: now\r\r")) == [ServerEvent("now")]
    assert list(parser.feed(b"\ndata: then\n\n")) == [ServerEvent("then")]


def test_lines_keep_what_follows_the_last_end() -> None:
    lines = LineDecoder(100)
    assert list(lines.feed(b"a\r\nb\n\nc")) == [b"a", b"b", b""]
    assert lines.finish() == b"c"


@pytest.mark.parametrize("stream", [b"data: " + b"x" * 200, b"data: xxxx\n" * 50])
def test_a_line_or_event_without_end_is_refused(stream: bytes) -> None:
    with pytest.raises(DoubleOError) as caught:
        list(EventDecoder(100).feed(stream))
    assert caught.value.reason == "size"
