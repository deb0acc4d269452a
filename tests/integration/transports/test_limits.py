"""Size, in both worlds: a body has its limit, and memory does not follow what a server sends."""

from __future__ import annotations

import gzip
import random
import tracemalloc
import zlib
from collections.abc import Callable, Iterator

import pytest

from oo.transports.reader import CHUNK
from tests.support.faults import BODY, READ, SECRET, Endless, Script, head, serving
from tests.support.probing import PROBE, TOKEN, bare_deflate, chunked, encoded, failure
from tests.support.waiting import PATIENCE
from tests.support.worlds import World


@pytest.fixture
def grown() -> Iterator[Callable[[], int]]:
    """The most bytes that were held at once, so far."""
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    yield lambda: tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()


MEMBER = gzip.compress(b"\0" * (8 << 20))
ENDLESS: dict[str, Script] = {
    "a body without an end": [READ, head(), Endless(b"x" * 65536)],
    "chunks without an end": [READ, chunked(b""), Endless(b"10000\r\n" + b"x" * 65536 + b"\r\n")],
    "a length above the limit": [READ, head(b"Content-Length: 99999999999"), Endless(b"x" * 65536)],
    "a gzip bomb": [READ, head(b"Content-Encoding: gzip"), Endless(MEMBER)],
    "a deflate bomb": [READ, encoded(b"deflate", zlib.compress(b"\0" * (64 << 20) + b"\0"))],
    "gzip members that are all empty": [READ, head(b"Content-Encoding: gzip"), Endless(gzip.compress(b"") * 999)],
}


@pytest.mark.parametrize("name", ENDLESS)
def test_an_endless_secret_is_an_error_and_costs_little_memory(
    world: World, name: str, grown: Callable[[], int]
) -> None:
    with serving(ENDLESS[name]) as server:
        client = world.client(server.url, timeout=PATIENCE)
        error = failure(PROBE["secret"][1], client)
        assert (error.reason, error.retryable, error.status) == ("size", False, None)
        assert grown() < 8 << 20
        assert client.get_secret(TOKEN) == SECRET


def test_a_bomb_behind_the_proxy_is_an_error_and_costs_at_most_16_mib(world: World, grown: Callable[[], int]) -> None:
    with serving(ENDLESS["a gzip bomb"]) as server:
        error = failure(PROBE["proxy"][1], world.client(server.url, timeout=PATIENCE))
    assert (error.reason, error.retryable, error.status) == ("size", False, None)
    assert grown() < 16 << 20


@pytest.mark.parametrize("coding", [b"identity", b"gzip"])
@pytest.mark.parametrize("operation", ["secret", "env"])
def test_the_limit_of_a_secret_is_1_mib_to_the_byte(world: World, coding: bytes, operation: str) -> None:
    allowed = BODY + b" " * ((1 << 20) - len(BODY))
    bodies = [gzip.compress(body) if coding == b"gzip" else body for body in (allowed, allowed + b" ")]
    kind, call = PROBE[operation]
    with serving([READ, encoded(coding, bodies[0]), READ, encoded(coding, bodies[1])]) as server:
        client = world.client(server.url)
        assert SECRET in str(call(client))
        error = failure(call, client)
    assert type(error) is kind
    assert (error.reason, error.status) == ("size", None)


@pytest.mark.parametrize("coding", [b"identity", b"gzip", b"deflate"])
def test_a_large_answer_comes_whole(world: World, coding: bytes) -> None:
    body = b'"' + random.Random(55).randbytes(3 << 20).hex().encode() + b'"'
    press: dict[bytes, Callable[[bytes], bytes]]
    press = {
        b"identity": bytes,
        b"gzip": lambda data: gzip.compress(data, 1),
        b"deflate": lambda data: zlib.compress(data, 1),
    }
    with serving([READ, encoded(coding, press[coding](body))]) as server:
        assert world.client(server.url).proxy("v1/file", TOKEN, "GET") == body[1:-1].decode()


def test_a_bare_deflate_body_of_any_size_about_a_step_of_decoding_comes_whole(world: World) -> None:
    # zlib has then taken all of the input and still holds output, and no trailer makes it ask for more.
    bodies = [b'"' + b"x" * size + b'"' for size in range(CHUNK - 3, CHUNK + 9)]
    scripts = [step for body in bodies for step in (READ, encoded(b"deflate", bare_deflate(body)))]
    with serving(scripts) as server:
        client = world.client(server.url)
        assert [len(client.proxy("v1/file", TOKEN, "GET")) + 2 for _ in bodies] == [len(body) for body in bodies]
