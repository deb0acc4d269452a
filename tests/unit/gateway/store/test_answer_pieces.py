from __future__ import annotations

import time

import pytest

from oo.gateway.errors import IntegrityError
from oo.gateway.models import StoredResponse
from oo.gateway.store.answer_pieces import Call, Cut, day_of, keyring_of, new_fence, opened
from oo.testing import Streamed

PIECE = 256 << 10


@pytest.mark.parametrize("size", [0, 1, PIECE - 60, PIECE, PIECE + 1, 3 * PIECE + 17])
@pytest.mark.parametrize("headers", [(), (("X-Long", "x" * 2 * PIECE),)])
def test_an_answer_is_cut_and_opened(size: int, headers: tuple[tuple[str, str], ...]) -> None:
    body = (bytes(range(256)) * (size // 256 + 1))[:size]
    cut = Cut(StoredResponse(201, headers, body))
    pieces = list(cut)
    assert (len(pieces), cut.size >= sum(map(len, pieces))) == (cut.pieces, True)
    status, found, length, start = opened(pieces[0])
    assert (status, found, length, start + b"".join(pieces[1:])) == (201, headers, size, body)


@pytest.mark.parametrize("text", ["", "a\nb: c", "\udc80\ud800", "\u20ac"])
def test_whatever_a_header_holds_is_given_back(text: str) -> None:
    headers = (("X-A", text), ("X-A", ""), ("X-B", text))
    (piece,) = Cut(StoredResponse(200, headers, b"\0body"))
    assert opened(piece) == (200, headers, 5, b"\0body")


def test_a_header_that_would_read_as_several_stays_one() -> None:
    (piece,) = Cut(StoredResponse(200, (("X-A", "a\0X-B\0b"), ("X\0", "")), b""))
    assert opened(piece) == (200, (("X-A", "a X-B b"), ("X ", "")), 0, b"")


def test_a_stream_is_no_answer_to_keep() -> None:
    with pytest.raises(TypeError, match="read whole"):
        Cut(StoredResponse(200, (), Streamed([b"x"])))


def test_each_day_has_a_ring_of_its_own() -> None:
    assert (day_of(0.0), day_of(86399.9), day_of(86400.0)) == (0, 0, 1)
    with pytest.raises(IntegrityError, match="no key for results"):
        keyring_of((), 1)
    assert keyring_of((b"key",), 1) is keyring_of((b"key",), 1)
    assert len({keyring_of(*each).current for each in (((b"key",), 1), ((b"key",), 2), ((b"other",), 1))}) == 3
    names = {Call("t", b"k", b"f").name(1), Call("t", b"k", b"f").name(2), Call("t", b"k", b"g").name(1)}
    assert len(names) == 3


def test_fences_are_all_different_and_grow_with_time(monkeypatch: pytest.MonkeyPatch) -> None:
    fences = {new_fence() for _ in range(1000)}
    assert (len(fences), {len(fence) for fence in fences}) == (1000, {16})
    monkeypatch.setattr(time, "time_ns", lambda: 2_000_000_000 * 10**9)
    assert new_fence() > max(fences)
