from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import stat
import sys
import time
from collections import namedtuple
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

import oo
from oo._core.files import lock_dir
from oo._http.body import Body
from oo.gateway import kept
from oo.gateway.errors import StoreError
from oo.gateway.models import StoredResponse
from oo.gateway.store import result_rows, sqlite
from oo.gateway.store.answer_pieces import Call, Cut, parts_of
from oo.gateway.store.results import Results
from tests.support.streams import pieces
from tests.support.waiting import PATIENCE

KEYS = (b"r" * 32,)
LARGE = os.urandom(1 << 20)
Usage = namedtuple("Usage", "total used free")


def call(key: str = "k", token: str = "t") -> Call:
    return Call(token, key.encode(), f"{token}.{key}".encode())


def answer(body: bytes = b"body") -> StoredResponse:
    return StoredResponse(200, (("X-A", "1"),), body)


async def keep(results: Results, call: Call, response: StoredResponse) -> None:
    await results.keep(call, Cut(response, await parts_of(response)))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "results.db"


@pytest.fixture
async def results(path: Path) -> AsyncIterator[Results]:
    results = Results(path, lambda: KEYS)
    yield results
    results.close()


async def test_the_file_is_made_when_the_first_answer_is_kept(results: Results, path: Path) -> None:
    assert await results.find(call()) is None
    assert list(path.parent.iterdir()) == []
    await keep(results, call(), answer())
    assert await results.find(call()) == answer()
    assert await results.find(call("another")) is None
    assert {stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()} == {0o600}


async def body_of(found: StoredResponse | None) -> bytes:
    assert found is not None
    assert isinstance(found.body, Body)
    return b"".join([piece async for piece in found.body])


@pytest.mark.parametrize("sizes", [[0], [1, 0, 5], [100] * 5000, [256 << 10] * 4, [(256 << 10) + 1, 3, 1 << 20]])
async def test_an_answer_that_flows_comes_back_whatever_its_pieces_are(results: Results, sizes: list[int]) -> None:
    parts = [bytes([number % 251]) * size for number, size in enumerate(sizes)]
    await keep(results, call(), StoredResponse(200, (("X-A", "1"),), Body(pieces(*parts))))
    found = await results.find(call())
    assert found is not None
    came = found.body if isinstance(found.body, bytes) else await body_of(found)
    assert (found.status, came) == (200, b"".join(parts))


async def test_a_large_answer_comes_in_pieces(results: Results) -> None:
    await keep(results, call(), answer(LARGE))
    found = await results.find(call())
    assert found is not None
    assert isinstance(found.body, Body)
    assert (found.status, found.headers, found.body.length) == (200, (("X-A", "1"),), len(LARGE))
    assert [len(piece) <= 256 << 10 for piece in [piece async for piece in found.body]] == [True] * 5
    assert await body_of(await results.find(call())) == LARGE


async def test_another_object_finds_it_and_another_key_does_not(results: Results, path: Path) -> None:
    await keep(results, call(), answer())
    for keys, found in ((KEYS, answer()), ((*KEYS, b"x" * 32), answer()), ((b"x" * 32,), None)):
        other = Results(path, lambda keys=keys: keys)
        assert await other.find(call()) == found
        other.close()


async def test_no_file_holds_what_was_answered(results: Results, path: Path) -> None:
    await keep(results, call("the-key"), answer(b"the-body"))
    found = b"".join(each.read_bytes() for each in path.parent.iterdir())
    assert b"the-body" not in found
    assert b"X-A" not in found


@pytest.mark.parametrize("missing", [1, 4])
async def test_an_answer_that_is_dropped_while_it_is_read_breaks_off(results: Results, missing: int) -> None:
    await keep(results, call(), answer(LARGE))
    found = await results.find(call())
    await results._writing.run(lambda db: db.execute("DELETE FROM pieces WHERE id % 256 = ?", (missing,)))
    with pytest.raises(oo.DoubleOError, match="dropped meanwhile"):
        await body_of(found)


@pytest.mark.parametrize("number", [0, 2])
async def test_an_answer_that_was_changed_is_none(results: Results, number: int) -> None:
    await keep(results, call(), answer(LARGE))
    await results._writing.run(lambda db: db.execute("UPDATE pieces SET sealed = x'00' WHERE id % 256 = ?", (number,)))
    found = await results.find(call())
    if number:
        with pytest.raises(oo.DoubleOError):
            await body_of(found)
    else:
        assert found is None


def garbage(path: Path) -> None:
    path.write_bytes(b"garbage" * 1000)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def torn(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data[:4096] + b"\xff" * (len(data) - 4096))


def of_another_version(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 99")


def deleted(path: Path) -> None:
    path.unlink()


def replaced(path: Path) -> None:
    other = path.parent / "other.db"
    with sqlite.creating(other, result_rows.SCHEMA) as db:
        db.execute("PRAGMA user_version = 1")
    os.replace(other, path)


@pytest.mark.parametrize("change", [garbage, empty, torn, of_another_version, deleted, replaced])
@pytest.mark.parametrize("was_open", [True, False])
async def test_a_file_that_was_damaged_or_deleted_is_made_anew(path: Path, change: object, was_open: bool) -> None:
    assert callable(change)
    results = Results(path, lambda: KEYS)
    await keep(results, call(), answer())
    if not was_open:
        results.close()
        results = Results(path, lambda: KEYS)
    if was_open and change is of_another_version:
        results.close()  # what is open is not looked at again
        results = Results(path, lambda: KEYS)
    change(path)
    # What is in the log of one that is open may still be there.
    assert await results.find(call()) in (None, answer())
    await keep(results, call("next"), answer())
    assert await results.find(call("next")) == answer()
    results.close()


async def test_a_log_of_a_deleted_file_is_not_carried_over(results: Results, path: Path, tmp_path: Path) -> None:
    await keep(results, call(), answer())
    shutil.copy(f"{path}-wal", tmp_path / "log")
    results.close()
    path.unlink()
    shutil.copy(tmp_path / "log", f"{path}-wal")
    other = Results(path, lambda: KEYS)
    await keep(other, call("next"), answer())
    assert (await other.find(call()), await other.find(call("next"))) == (None, answer())
    other.close()


async def test_a_file_that_is_full_is_a_message(results: Results) -> None:
    await keep(results, call(), answer())
    await results._writing.run(lambda db: db.execute("PRAGMA max_page_count = 1"))
    with pytest.raises(StoreError, match=r"the results file .*results\.db failed: database or disk is full"):
        await keep(results, call("next"), answer(LARGE))
    assert await results.find(call()) == answer()


async def test_answers_leave_some_of_the_disk_free(results: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(3):
        await keep(results, call(f"k{n}"), answer(LARGE))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1, 1, kept.SPARED))
    await keep(results, call("next"), answer(LARGE))
    found = [await results.find(call(key)) for key in ("k0", "k1", "k2", "next")]
    assert [each is not None for each in found] == [False, True, True, True]
    with pytest.raises(StoreError, match="there is no room for it"):
        await keep(results, call("larger"), answer(LARGE * 4))


async def test_what_is_too_old_is_given_back_to_the_disk(
    results: Results, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(24):
        await keep(results, call(f"k{n}"), answer(LARGE))
    before = path.stat().st_size
    assert before > 16 << 20
    monkeypatch.setattr(kept, "KEPT", -1.0)
    await keep(results, call("next"), answer())
    end = time.monotonic() + PATIENCE
    while path.stat().st_size > 4 << 20:
        assert time.monotonic() < end
        await asyncio.sleep(0.01)
    assert await results.find(call("k1")) is None


async def test_it_closes_while_it_sweeps(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = Results(path, lambda: KEYS)
    for n in range(24):
        await keep(results, call(f"k{n}"), answer(LARGE))
    monkeypatch.setattr(kept, "KEPT", -1.0)
    await keep(results, call("next"), answer())
    results.close()
    await asyncio.sleep(0.05)


async def test_two_who_make_the_file_at_once_make_one(path: Path) -> None:
    several = [Results(path, lambda: KEYS) for _ in range(6)]
    await asyncio.gather(*(keep(each, call(str(n)), answer()) for n, each in enumerate(several)))
    assert [await several[0].find(call(str(n))) for n in range(6)] == [answer()] * 6
    for each in several:
        each.close()


async def test_what_is_small_is_kept_here_unless_another_writes(results: Results, path: Path) -> None:
    first, small, other = ((call(key), Cut(answer())) for key in ("first", "small", "other"))
    large = call("large"), Cut(answer(LARGE))
    assert results.keep_here([first]) == [False]  # there is no file yet
    await results.keep(*first)
    assert results.keep_here([small, large, other]) == [True, False, False]
    with closing(sqlite3.connect(path, isolation_level=None)) as another:
        another.execute("BEGIN IMMEDIATE")
        assert results.keep_here([other]) == [False]
        keeping = asyncio.create_task(keep(results, call("late"), answer()))
        await asyncio.sleep(0.05)
        assert not keeping.done()
        another.execute("COMMIT")
        await keeping
    assert await results.find(call("late")) is not None
    assert results.keep_here([other]) == [True]
    assert [await results.find(each) is not None for each, _ in (small, large, other)] == [True, False, True]


async def test_what_was_kept_is_kept_once(results: Results) -> None:
    kept = call("kept"), Cut(answer())
    await results.keep(*kept)
    await results.keep(*kept)
    assert results.keep_here([kept]) == [True]
    new = call("new"), Cut(answer())
    assert results.keep_here([kept, new, new]) == [True] * 3
    twice = call("twice"), Cut(answer(LARGE))
    await asyncio.gather(results.keep(*twice), results.keep(*twice))
    for each, _ in (kept, new, twice):
        assert await results.find(each) is not None


@pytest.mark.skipif(sys.platform == "win32", reason="a folder has no lock there")
async def test_a_file_that_cannot_be_made_is_a_failure_of_the_store(
    results: Results, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("oo.gateway.store.results._LOCK_TIMEOUT", 0.05)
    with lock_dir(path.parent), pytest.raises(StoreError, match=r"results file .* failed: another program keeps"):
        await keep(results, call(), answer())
    await keep(results, call(), answer())
