from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from oo.gateway import kept
from oo.gateway.errors import IntegrityError
from oo.gateway.models import StoredResponse
from oo.gateway.sealing import Keyring, new_key
from oo.gateway.store import result_rows, sqlite
from oo.gateway.store.answer_pieces import Call, Cut, opened
from oo.gateway.store.result_rows import drop, find, has_older, piece, put_all, sweep, total
from oo.testing import Streamed

HEADERS = (("X-A", "1"), ("X-A", "2"))
ROOM = 1 << 30
PIECE = 256 << 10


@pytest.fixture
def db(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    path = tmp_path / "results.db"
    with sqlite.creating(path, result_rows.SCHEMA):
        pass
    with closing(sqlite.writer(path)) as db:
        yield db


@pytest.fixture
def ring() -> Keyring:
    return Keyring([new_key()])


def call(key: str, token: str = "t", fence: bytes = b"") -> Call:
    return Call(token, key.encode(), fence or f"{token}.{key}".encode())


def answer(body: bytes = b"x") -> StoredResponse:
    return StoredResponse(201, HEADERS, body)


def put(
    db: sqlite3.Connection,
    ring: Keyring,
    call: Call,
    response: StoredResponse,
    now: float,
    room: int,
    parts: list[bytes] | None = None,
) -> bool:
    (fits,) = put_all(db, ring, [(call, Cut(response, parts))], now, room)
    return fits


def whole(db: sqlite3.Connection, ring: Keyring, call: Call) -> tuple[object, ...] | None:
    found = find(db, call)
    if found is None:
        return None
    pieces = [piece(db, ring, call, found, number) for number in range(found.pieces)]
    assert all(pieces)
    status, headers, length, start = opened(pieces[0] or b"")
    body = start + b"".join(each or b"" for each in pieces[1:])
    assert length == len(body)
    return status, headers, body


@pytest.mark.parametrize("size", [0, 1, PIECE - 60, PIECE, PIECE + 1, 3 * PIECE + 17])
def test_an_answer_of_any_size_comes_back(db: sqlite3.Connection, ring: Keyring, size: int) -> None:
    body = bytes(range(256)) * (size // 256 + 1)
    assert put(db, ring, call("k"), answer(body[:size]), 1.0, ROOM)
    assert whole(db, ring, call("k")) == (201, HEADERS, body[:size])
    assert find(db, call("k", fence=b"8")) is None
    assert find(db, call("k", token="other")) is None


def test_headers_larger_than_a_piece_come_back(db: sqlite3.Connection, ring: Keyring) -> None:
    response = StoredResponse(200, (("X-Long", "x" * 2 * PIECE),), b"body")
    assert put(db, ring, call("k"), response, 1.0, ROOM)
    assert whole(db, ring, call("k")) == (200, response.headers, b"body")


def test_a_stream_is_no_answer_to_keep(db: sqlite3.Connection, ring: Keyring) -> None:
    with pytest.raises(TypeError, match="read whole"):
        put(db, ring, call("k"), StoredResponse(200, (), Streamed([b"x"])), 1.0, ROOM)


def test_a_piece_in_another_place_does_not_open(db: sqlite3.Connection, ring: Keyring) -> None:
    for key in ("k", "other"):
        assert put(db, ring, call(key), answer(bytes(2 * PIECE)), 1.0, ROOM)
    found, other = find(db, call("k")), find(db, call("other"))
    assert found is not None
    assert other is not None
    for wrong in [(call("k"), other, 1), (call("other"), found, 1), (call("k"), found._replace(pieces=2), 1)]:
        with pytest.raises(IntegrityError):
            piece(db, ring, *wrong)
    db.execute("UPDATE pieces SET sealed = (SELECT sealed FROM pieces WHERE id = ?) WHERE id = ?", (256, 257))
    with pytest.raises(IntegrityError):
        piece(db, ring, call("k"), found, 1)
    assert piece(db, ring, call("k"), found, 9) is None


def kept_keys(db: sqlite3.Connection) -> list[str]:
    return [key.decode() for (key,) in db.execute("SELECT call FROM results ORDER BY at")]


def test_of_a_token_the_oldest_is_dropped_first(
    db: sqlite3.Connection, ring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "MAX_OF_TOKEN", 4 * PIECE)
    assert put(db, ring, call("others", token="other"), answer(), 0.0, ROOM)
    for n in range(5):
        assert put(db, ring, call(f"k{n}"), answer(bytes(PIECE)), float(n + 1), ROOM)
    assert kept_keys(db) == ["others", "k2", "k3", "k4"]
    assert total(db, "t") <= 4 * PIECE
    assert not put(db, ring, call("larger"), answer(bytes(4 * PIECE)), 9.0, ROOM)
    assert kept_keys(db) == ["others", "k2", "k3", "k4"]


def test_of_all_the_oldest_is_dropped_first_whosever_it_is(db: sqlite3.Connection, ring: Keyring) -> None:
    for n in range(5):
        assert put(db, ring, call("k", token=f"t{n}"), answer(bytes(PIECE)), float(n), 3 * PIECE + 9_999)
    assert [total(db, f"t{n}") > 0 for n in range(5)] == [False, False, True, True, True]
    assert total(db) == sum(total(db, f"t{n}") for n in range(5)) <= 3 * PIECE + 9_999
    assert not put(db, ring, call("none"), answer(), 9.0, 0)


def test_a_call_that_was_made_again_has_the_answer_of_its_own_claim(db: sqlite3.Connection, ring: Keyring) -> None:
    for fence in (b"7", b"9", b"8"):
        assert put(db, ring, call("k", fence=fence), answer(fence), 1.0, ROOM)
    assert whole(db, ring, call("k", fence=b"9")) == (201, HEADERS, b"9")
    assert find(db, call("k", fence=b"6")) is None


def test_what_is_too_old_is_dropped_a_little_at_a_time(
    db: sqlite3.Connection, ring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(result_rows, "_STEP", 4)
    for n in range(10):
        assert put(db, ring, call(f"k{n}"), answer(), float(n), ROOM)
    steps = []
    while sweep(db, 9.0):
        steps.append(len(kept_keys(db)))
    assert steps == [6, 2, 1]
    assert kept_keys(db) == ["k9"]
    assert not sweep(db, 9.0)
    assert [has_older(db, before) for before in (9.0, 9.5)] == [False, True]
    monkeypatch.setattr(result_rows, "_STEP_BYTES", 1)
    assert put(db, ring, call("next"), answer(), 9.0, ROOM)
    assert sweep(db, 10.0)
    assert kept_keys(db) == ["next"]
    assert sweep(db, 10.0)
    assert (total(db), db.execute("SELECT count(*) FROM pieces").fetchone()) == (0, (0,))


def test_nothing_is_dropped_of_nothing(db: sqlite3.Connection) -> None:
    assert drop(db, []) == 0
    # A damaged total drops nothing for ever.
    db.execute("INSERT INTO totals VALUES ('t', 1000000000)")
    assert put(db, Keyring([new_key()]), call("k"), answer(), 1.0, ROOM)
