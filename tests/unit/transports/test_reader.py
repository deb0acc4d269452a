"""Reading a body: framing, decoding, limits. What may be decided here has no transport in it."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Sequence

import pytest

import oo
from oo._core.pipeline import run_sync
from oo._http.headers import Headers
from oo.transports.reader import CHUNK, Decoder, Framing, whole


class Pieces:
    """A source of pieces."""

    over = False

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = list(pieces)
        self.released = self.aborted = False

    async def read(self) -> bytes:
        return self.pieces.pop(0) if self.pieces else b""

    def release(self) -> None:
        self.released = True

    def abort(self) -> None:
        self.aborted = True


def framing(*fields: tuple[str, str]) -> Framing:
    return Framing(Headers(fields).get_all)


@pytest.mark.parametrize(
    ("fields", "length", "encoding"),
    [
        ([], None, "identity"),
        ([("Content-Length", "7")], 7, "identity"),
        ([("content-encoding", "GZIP")], None, "gzip"),
        ([("Transfer-Encoding", "Chunked"), ("Content-Encoding", "deflate")], None, "deflate"),
    ],
)
def test_what_the_headers_say(fields: Sequence[tuple[str, str]], length: int | None, encoding: str) -> None:
    said = framing(*fields)
    assert (said.length, said.encoding) == (length, encoding)


@pytest.mark.parametrize(
    "fields",
    [
        [("Content-Length", "1"), ("Content-Length", "1")],
        [("Content-Length", "+1")],
        [("Content-Length", "1"), ("Transfer-Encoding", "chunked")],
        [("Transfer-Encoding", "gzip, chunked")],
    ],
)
def test_headers_that_contradict_themselves(fields: Sequence[tuple[str, str]]) -> None:
    with pytest.raises(oo.DoubleOError) as caught:
        framing(*fields)
    assert caught.value.reason == "protocol"


@pytest.mark.parametrize("size", [1, 7, 1 << 20])
@pytest.mark.parametrize(
    ("encoding", "data"),
    [
        ("identity", b"text" * 9),
        ("gzip", gzip.compress(b"te") + gzip.compress(b"xt")),
        ("deflate", zlib.compress(b"text")),
        ("deflate", zlib.compress(b"text")[2:-4]),
    ],
    ids=["identity", "gzip", "zlib", "bare"],
)
def test_a_coding_is_undone_however_it_is_cut(encoding: str, data: bytes, size: int) -> None:
    decoder = Decoder(encoding)
    cut = [data[at : at + size] for at in range(0, len(data), size)]
    pieces = [piece for chunk in cut for piece in decoder.feed(chunk)]
    decoder.finish()
    assert b"".join(pieces) in (b"text", data)
    assert all(len(piece) <= max(CHUNK, size) for piece in pieces)


def test_a_coding_that_is_cut_short_or_broken_is_an_error() -> None:
    decoder = Decoder("gzip")
    list(decoder.feed(gzip.compress(b"text")[:-1]))
    with pytest.raises(oo.DoubleOError) as cut:
        decoder.finish()
    with pytest.raises(oo.DoubleOError) as broken:
        list(Decoder("gzip").feed(b"no gzip"))
    assert (cut.value.reason, broken.value.reason) == ("connection", "protocol")


@pytest.mark.parametrize("coding", ["identity", "gzip"])
def test_a_body_is_whole_up_to_its_limit(coding: str) -> None:
    data = b"x" * 1000
    sent = gzip.compress(data) if coding == "gzip" else data
    source = Pieces(sent[:9], sent[9:])
    assert run_sync(whole(source, framing(("Content-Encoding", coding)), 1000)) == data
    assert source.released
    with pytest.raises(oo.DoubleOError) as caught:
        run_sync(whole(Pieces(sent), framing(("Content-Encoding", coding)), 999))
    assert caught.value.reason == "size"
