"""Content codings over the wire, in both worlds: what is none, what is undone, what is refused, and in which words."""

from __future__ import annotations

import gzip
import sys
import zlib
from collections.abc import Callable

import brotli
import pytest

import oo
from oo.transports.codings import STEP
from oo.transports.reader import DecodedBody, Decoder
from tests.support.faults import READ, answer, serving
from tests.support.worlds import World

TOKEN = "a-token-for-codings"
BODY = b'{"value": "v"}'
GZIP = gzip.compress(BODY, mtime=0)
PLAIN = ["identity", "none", "utf-8", "UTF-8", "binary", "aws-chunked", "", "none, identity"]
CODED = [
    ("gzip", GZIP),
    ("GZIP", GZIP),
    ("x-gzip", GZIP),
    ("aws-chunked, gzip", GZIP),
    ("gzip", GZIP + b"\0" * 16),
    ("gzip", gzip.compress(BODY[:5], mtime=0) + gzip.compress(BODY[5:], mtime=0)),
    ("deflate", zlib.compress(BODY)),
    ("deflate", zlib.compress(BODY)[2:-4]),
    ("br", brotli.compress(BODY)),
]

BROKEN = [
    ("gzip", GZIP[:-1], "connection"),
    ("gzip", GZIP + b"junk", "protocol"),
    ("gzip", b"\0" * 16 + GZIP, "protocol"),
    ("deflate", zlib.compress(BODY) * 2, "protocol"),
    ("br", brotli.compress(BODY * 9999)[:-1], "connection"),
    ("br", b"\xff" * 99, "protocol"),
    ("compress", BODY, "protocol"),
    ("gzip, gzip", gzip.compress(GZIP, mtime=0), "protocol"),
]


def coded(encoding: str, body: bytes) -> bytes:
    return answer(body, f"Content-Encoding: {encoding}".encode())


@pytest.mark.parametrize("encoding", PLAIN)
def test_a_name_that_is_no_coding_changes_nothing(world: World, encoding: str) -> None:
    with serving([READ, coded(encoding, BODY)]) as server:
        assert world.client(server.url, plugins=False).get_secret(TOKEN) == "v"


@pytest.mark.parametrize(("encoding", "body"), CODED, ids=range(len(CODED)))
def test_a_coding_is_undone(world: World, encoding: str, body: bytes) -> None:
    with serving([READ, coded(encoding, body)]) as server:
        assert world.client(server.url, plugins=False).get_secret(TOKEN) == "v"


@pytest.mark.parametrize(("encoding", "body"), CODED, ids=range(len(CODED)))
def test_a_coding_is_undone_byte_by_byte(encoding: str, body: bytes) -> None:
    decoder = Decoder(encoding.lower().removeprefix("aws-chunked, "))
    pieces = [piece for n in range(len(body)) for piece in decoder.feed(body[n : n + 1])]
    decoder.finish()
    assert b"".join(pieces) == BODY


@pytest.mark.parametrize(
    ("encoding", "body", "reason"),
    BROKEN,
    ids=range(len(BROKEN)),
)
def test_what_is_broken_or_unknown_is_an_error(world: World, encoding: str, body: bytes, reason: str) -> None:
    with serving([READ, coded(encoding, body)]) as server, pytest.raises(oo.SecretError) as caught:
        world.client(server.url, plugins=False).get_secret(TOKEN)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("encoding", "module", "package"),
    [
        ("br", "brotli", "brotli>=1.2"),
        ("zstd", "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd", "backports.zstd"),
    ],
)
def test_what_a_library_would_undo_is_refused_with_the_words_to_install_it(
    world: World, encoding: str, module: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with serving([READ, coded(encoding, BODY)]) as server, pytest.raises(oo.SecretError) as caught:
        world.client(server.url, plugins=False).get_secret(TOKEN)
    assert caught.value.reason == "protocol"
    assert f'pip install "{package}"' in str(caught.value)


@pytest.mark.parametrize(
    ("encoding", "compress"), [("gzip", gzip.compress), ("br", brotli.compress)], ids=["gzip", "br"]
)
def test_a_step_gives_little_however_much_a_bomb_holds(encoding: str, compress: Callable[[bytes], bytes]) -> None:
    sizes = [len(piece) for piece in Decoder(encoding).feed(compress(bytes(1 << 24)))]
    assert sum(sizes) == 1 << 24
    assert max(sizes) <= 2 * STEP


def test_a_stream_comes_decoded_or_as_it_was_sent(world: World) -> None:
    async def raw(request: oo.Request, call_next: oo.CallNext) -> oo.Response:
        response = await call_next(request)
        assert isinstance(response.stream, DecodedBody)
        assert response.stream.length is None
        response.stream.keep_encoding()
        assert response.stream.length == len(GZIP)
        return await response.buffered()

    with serving([READ, coded("gzip", GZIP)]) as server:
        client = world.client(server.url, middleware=[oo.ErrorMapping(), oo.BearerAuth(), raw])
        stream = client.client.stream("v1/x", TOKEN)
        opened = world.run(stream.__enter__ if world.blocking else stream.__aenter__)
        assert opened.response.body == GZIP
