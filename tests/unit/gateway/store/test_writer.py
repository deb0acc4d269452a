from __future__ import annotations

import asyncio
import errno
import sqlite3
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import closing
from typing import Any

import pytest

from oo.gateway.errors import StoreError, StoreUnavailable
from oo.gateway.store import log_sync, sqlite, writer
from oo.gateway.store.data_keys import DataKeys
from oo.gateway.store.kernel_sync import KernelSync
from oo.gateway.store.sqlite_rows import SQLiteRecords
from oo.gateway.store.turns import Turn
from oo.gateway.store.writer import Writer
from tests.support.disks import until_kernel_syncs
from tests.support.vaults import Kept


class Held:
    """A writer whose thread waits until it is told to go on; `commits` counts its transactions."""

    def __init__(self, kept: Kept) -> None:
        self.db = sqlite.writer(kept.path)
        records = SQLiteRecords(self.db, kept.path, DataKeys(lambda: kept.ring))
        self.writer = Writer(records, kept.path, self.db.close)
        self.go = threading.Event()
        self.commits = 0
        self.db.set_trace_callback(self._trace)

    def _trace(self, statement: str) -> None:
        self.commits += statement == "COMMIT"

    async def hold(self) -> asyncio.Task[Any]:
        """Have the thread wait within a transaction of its own."""
        begun = threading.Event()

        def change(db: sqlite3.Connection) -> None:
            with sqlite.transaction(db):
                begun.set()
                assert self.go.wait(10)

        holding = asyncio.create_task(self.writer.alone(change))
        await asyncio.to_thread(begun.wait, 10)
        return holding

    async def waiting(self, *changes: Any) -> list[asyncio.Task[Any]]:
        tasks = [asyncio.create_task(self.writer.write(change)) for change in changes]
        await asyncio.sleep(0)
        return tasks


@pytest.fixture
async def held(kept: Kept) -> AsyncIterator[Held]:
    held = Held(kept)
    yield held
    held.go.set()
    held.writer.close()
    held.writer._thread.join(10)  # it closes the connection


def put(name: str) -> Any:
    return lambda records: records.db.execute("INSERT INTO meta VALUES (?, 'x')", (name,)).rowcount


def fail(records: SQLiteRecords) -> None:
    put("half")(records)
    raise StoreError("no")


def names(kept: Kept) -> set[str]:
    return {name for (name,) in kept.rows("SELECT name FROM meta WHERE value = 'x'")}


async def test_changes_that_wait_share_a_commit(kept: Kept, held: Held) -> None:
    holding = await held.hold()
    tasks = await held.waiting(*(put(str(n)) for n in range(150)))
    held.go.set()
    assert await asyncio.gather(*tasks) == [1] * 150
    await holding
    assert held.commits == 1 + 3  # at most 64 in one: other processes wait for its end
    assert names(kept) == {str(n) for n in range(150)}


async def test_nothing_is_told_before_the_commit(kept: Kept, held: Held) -> None:
    holding = await held.hold()
    tasks = await held.waiting(put("a"), put("b"))
    with closing(sqlite.writer(kept.path)) as other:
        other.execute("PRAGMA busy_timeout = 0")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
    assert (names(kept), [task.done() for task in tasks]) == (set(), [False, False])
    held.go.set()
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    assert names(kept) == {"a", "b"}
    await asyncio.gather(holding, *tasks)


async def test_what_reading_alone_can_answer_waits_for_no_turn(kept: Kept, held: Held) -> None:
    peeks: list[str] = []

    def peek(name: str, found: int | None) -> Any:
        def look() -> int | None:
            peeks.append(name)
            if name == "fails":
                raise StoreError("no")
            return found

        return look

    def count(records: SQLiteRecords, asked: Any) -> list[int]:
        return [put(name)(records) for name in asked]

    holding = await held.hold()
    known = asyncio.create_task(held.writer.ask(count, "known", peek("known", 7)))
    others = [asyncio.create_task(held.writer.ask(count, name, peek(name, None))) for name in ("new", "fails")]
    assert await known == 7
    await held.waiting(put("later"))
    assert (peeks, [each.done() for each in others]) == (["known", "new", "fails"], [False, False])
    held.go.set()
    assert await asyncio.gather(*others) == [1, 1]
    await holding
    assert await held.writer.ask(count, "free", peek("free", 7)) == 1
    assert (names(kept) - {"later"}, len(peeks)) == ({"new", "fails", "free"}, 3)


async def test_what_reading_does_not_answer_keeps_its_place(kept: Kept, held: Held) -> None:
    made: list[str] = []

    def note(_records: SQLiteRecords, asked: list[str]) -> list[str]:
        made.extend(asked)
        return asked

    holding = await held.hold()
    asked = [("claim", lambda: None), ("release", None), ("known", lambda: "seen"), ("last", None)]
    tasks = [asyncio.create_task(held.writer.ask(note, name, peek)) for name, peek in asked]
    assert await tasks[2] == "seen"
    held.go.set()
    assert await asyncio.gather(*tasks) == ["claim", "release", "seen", "last"]
    assert made == ["claim", "release", "last"]
    await holding


async def test_a_change_that_fails_takes_no_other_with_it(kept: Kept, held: Held) -> None:
    holding = await held.hold()
    bad = lambda records: records.db.execute("nonsense")  # noqa: E731
    tasks = await held.waiting(put("a"), fail, put("b"), bad, put("c"))
    held.go.set()
    a, no, b, failed, c = await asyncio.gather(*tasks, return_exceptions=True)
    assert ((a, b, c), str(no)) == ((1, 1, 1), "no")
    assert isinstance(failed, StoreError)
    assert "syntax error" in str(failed)
    await holding
    assert names(kept) == {"a", "b", "c"}
    with pytest.raises(StoreError, match=r"^no$"):
        await held.writer.write(fail)
    assert names(kept) == {"a", "b", "c"}


async def test_a_change_that_ends_the_transaction_takes_no_other_with_it(kept: Kept, held: Held) -> None:
    def full(records: SQLiteRecords) -> None:
        records.db.execute("ROLLBACK")  # as SQLite does by itself where a disk is full
        raise sqlite3.OperationalError("database or disk is full")

    holding = await held.hold()
    tasks = await held.waiting(put("a"), full, put("b"))
    held.go.set()
    a, error, b = await asyncio.gather(*tasks, return_exceptions=True)
    assert (a, b, names(kept)) == (1, 1, {"a", "b"})
    assert isinstance(error, StoreError)
    assert "is full" in str(error)
    await holding
    assert await held.writer.write(put("next")) == 1


async def test_what_is_no_failure_of_the_store_is_named_without_its_words(kept: Kept, held: Held) -> None:
    def breaks(_: SQLiteRecords, __: list[None]) -> list[None]:
        raise KeyError("a secret")

    holding = await held.hold()
    tasks = [asyncio.create_task(held.writer.ask(breaks, None)) for _ in range(2)]
    await asyncio.sleep(0)
    held.go.set()
    errors = await asyncio.gather(*tasks, return_exceptions=True)
    assert [(type(error), str(error)) for error in errors] == [(RuntimeError, "KeyError")] * 2
    await holding


async def test_a_change_is_made_though_its_caller_left(kept: Kept, held: Held) -> None:
    holding = await held.hold()
    left, stays = await held.waiting(put("left"), put("stays"))
    left.cancel()
    held.go.set()
    assert await stays == 1
    assert left.cancelled()
    await holding
    assert names(kept) == {"left", "stays"}


def test_a_change_of_a_loop_that_was_closed_is_made(kept: Kept) -> None:
    held = Held(kept)

    async def leave() -> None:
        await held.hold()
        await held.waiting(put("left"))

    try:
        loop = asyncio.new_event_loop()
        loop.run_until_complete(leave())
        for task in asyncio.all_tasks(loop):
            task.cancel()
            loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
        loop.close()
    finally:
        held.go.set()
        held.writer.close()
        held.db.close()
    assert names(kept) == {"left"}


async def test_what_waits_for_the_same_work_is_given_to_it_at_once(kept: Kept, held: Held) -> None:
    def double(records: SQLiteRecords, numbers: list[int]) -> list[int]:
        records.db.executemany("INSERT INTO meta VALUES (?, 'x')", [(str(number),) for number in numbers])
        seen.append(numbers)
        return [2 * number for number in numbers]

    def refuse(records: SQLiteRecords, numbers: list[int]) -> list[int]:
        double(records, numbers)
        raise StoreError("no")

    seen: list[list[int]] = []
    holding = await held.hold()
    asked = [held.writer.ask(work, n) for n, work in enumerate([double, refuse, double, refuse, double])]
    tasks = [asyncio.create_task(each) for each in asked]
    await asyncio.sleep(0)
    held.go.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [answer if isinstance(answer, int) else str(answer) for answer in answers] == [0, "no", 4, "no", 8]
    assert len({id(answer) for answer in answers}) == 5
    await holding
    assert (seen, names(kept)) == ([[0, 2, 4], [1, 3], [0, 2, 4]], {"0", "2", "4"})


async def test_no_turn_is_waited_for_too_long(kept: Kept, held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "_PATIENCE", 0.2)
    turn = Turn(kept.path)
    with turn:
        tasks = await held.waiting(put("a"), put("b"))
        errors = await asyncio.gather(*tasks, return_exceptions=True)
        assert all("another process keeps it locked" in str(error) for error in errors)
        late = await held.waiting(put("late"))
        held.writer.close()  # which does not wait for ever either
    turn.close()
    assert await asyncio.gather(*late) == [1]
    assert names(kept) == {"late"}
    held.writer._thread.join(10)


async def test_work_alone_begins_its_own_transactions(held: Held) -> None:
    assert await held.writer.alone(lambda db: db.in_transaction) is False
    with pytest.raises(StoreError, match="syntax error"):
        await held.writer.alone(lambda db: db.execute("nonsense"))


async def test_a_writer_outlives_what_fails_on_its_thread(kept: Kept, caplog: pytest.LogCaptureFixture) -> None:
    def end() -> None:
        raise OSError("no")

    with closing(sqlite.writer(kept.path)) as db:
        records = SQLiteRecords(db, kept.path, DataKeys(lambda: kept.ring))
        failing = Writer(records, kept.path, end)
        failing._jobs.put(end)
        assert await failing.write(put("a")) == 1
        failing.close()
    assert caplog.text.count("the vault's writer failed: OSError") == 2


async def test_a_change_is_made_on_the_loop_where_the_file_is_free(held: Held) -> None:
    where = threading.get_ident
    assert await held.writer.write(lambda _: where()) == where()
    holding = await held.hold()
    (elsewhere,) = await held.waiting(lambda _: where())
    await asyncio.sleep(0.02)
    held.go.set()
    assert await elsewhere == held.writer._thread.ident
    await holding


async def test_a_file_that_another_writes_to_is_waited_for_on_the_thread(kept: Kept, held: Held) -> None:
    with closing(sqlite.writer(kept.path)) as other:
        other.execute("BEGIN IMMEDIATE")
        (task,) = await held.waiting(put("a"))
        await asyncio.sleep(0.05)  # while others on this loop have their turn
        assert not task.done()
        other.execute("COMMIT")
        assert await task == 1


@pytest.fixture
def disk(held: Held, monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """The disk takes its time until this is set."""
    go = threading.Event()
    monkeypatch.setattr(log_sync, "_SYNC", lambda _: go.wait(10))
    return go


async def until_seen(kept: Kept, *wanted: str) -> None:
    while names(kept) != set(wanted):
        await asyncio.sleep(0.001)


async def test_nobody_is_told_before_the_disk_has_it(kept: Kept, held: Held, disk: threading.Event) -> None:
    (task,) = await held.waiting(put("a"))
    await until_seen(kept, "a")  # others see it
    seen = asyncio.create_task(held.writer.on_disk())
    await asyncio.sleep(0.02)
    assert (task.done(), seen.done()) == (False, False)
    disk.set()
    assert await task == 1
    await seen


async def test_who_changes_nothing_does_not_wait_for_the_disk(held: Held, disk: threading.Event) -> None:
    assert (await held.writer.write(lambda records: records.rows.said("a")))[0] is None
    assert not disk.is_set()


async def test_a_commit_is_made_when_nobody_else_comes(kept: Kept, held: Held) -> None:
    tasks = []
    for name in "abc":
        tasks += await held.waiting(put(name))  # each a turn of the loop after the other
    assert await asyncio.gather(*tasks) == [1] * 3
    assert (names(kept), held.commits) == (set("abc"), 1)


@pytest.mark.parametrize("moment", ["due", "syncing"])
def test_a_loop_that_has_ended_leaves_nothing_waiting(kept: Kept, moment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    go = threading.Event()
    monkeypatch.setattr(log_sync, "_SYNC", lambda _: go.wait(10))
    held = Held(kept)

    async def leave() -> None:
        asking = await held.waiting(put("a"))
        if moment == "syncing":
            await until_seen(kept, "a")
            asking += await held.waiting(put("b"))
            await asyncio.sleep(0.02)
        for task in asking:
            task.cancel()

    asyncio.run(leave())
    go.set()
    assert asyncio.run(asyncio.wait_for(held.writer.write(put("z")), 5)) == 1
    assert names(kept) >= {"a", "z"}
    held.writer.close()
    held.writer._thread.join(10)


async def test_a_disk_that_fails_is_told_to_each(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(log_sync, "_SYNC", fails)
    tasks = await held.waiting(put("a"), put("b"))
    errors = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(error) for error in errors] == [StoreUnavailable] * 2
    assert all("failed: Input/output error" in str(error) for error in errors)
    assert errors[0] is not errors[1]


async def test_the_log_is_carried_over_now_and_then(kept: Kept, held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_sync, "_OFTEN", 2)
    before = kept.path.read_bytes()
    for n in range(2):
        await held.writer.write(put(str(n)))
    await held.writer.alone(lambda _: None)  # behind it
    assert kept.path.read_bytes() != before


async def test_what_cannot_begin_here_is_the_threads(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(**_: object) -> bool:
        raise PermissionError("no")

    monkeypatch.setattr(held.writer._turn, "take", fails, raising=False)
    (task,) = await held.waiting(put("a"))
    await asyncio.sleep(0.05)
    assert not task.done()
    assert held.writer._free.acquire(blocking=False)  # it was given back
    held.writer._free.release()
    task.cancel()


async def test_nothing_is_taken_once_it_is_closed(held: Held) -> None:
    held.writer.close()
    with pytest.raises(StoreError, match="was closed"):
        await held.writer.write(put("a"))


@pytest.mark.parametrize("error", [sqlite3.OperationalError("database is locked"), StoreError("is locked")])
async def test_a_file_that_is_locked_is_read_by_whoever_waits_for_it(kept: Kept, held: Held, error: Exception) -> None:
    with closing(sqlite.reader(kept.path)) as db:
        elsewhere = SQLiteRecords(db, kept.path, DataKeys(lambda: kept.ring))

        def read(records: SQLiteRecords) -> SQLiteRecords:
            if records is not elsewhere:
                raise error  # as SQLite does where another process recovers the file
            return records

        assert held.writer.look(read, elsewhere) is elsewhere
        with pytest.raises(KeyError):
            held.writer.look(lambda _: {}["other"], elsewhere)
    assert held.writer._free.acquire(blocking=False)
    held.writer._free.release()


async def test_however_many_wait_all_are_told_that_it_is_locked(
    kept: Kept, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "_PATIENCE", 0.2)
    with closing(sqlite.writer(kept.path)) as other:
        other.execute("BEGIN IMMEDIATE")
        tasks = await held.waiting(*(put(str(n)) for n in range(150)))
        errors = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(error) for error in errors} == {StoreUnavailable}
        assert all("locked" in str(error) for error in errors)
        later = await held.waiting(put("later"))
        other.execute("ROLLBACK")
        assert await asyncio.gather(*later) == [1]


async def test_a_turn_that_is_lost_while_others_wait_is_given_up_too(
    kept: Kept, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "_PATIENCE", 0.4)
    monkeypatch.setattr(writer, "_MOST", 1)
    turn, holding = Turn(kept.path), await held.hold()
    tasks = await held.waiting(*(put(str(n)) for n in range(3)))
    taking = asyncio.create_task(asyncio.to_thread(turn.take))
    held.go.set()
    await asyncio.gather(holding, taking)
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(outcome == 1 or "keeps it locked" in str(outcome) for outcome in outcomes)
    (late,) = await held.waiting(put("late"))
    with pytest.raises(StoreError, match="keeps it locked"):
        await late
    turn.close()


async def test_the_disk_is_told_of_while_a_turn_is_waited_for(kept: Kept, held: Held) -> None:
    turn = Turn(kept.path)
    with turn:
        (waits,) = await held.waiting(put("a"))
        await held.writer.on_disk()
        assert not waits.done()
    assert await waits == 1
    turn.close()


async def test_who_waits_behind_work_alone_is_given_up(kept: Kept, held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "_PATIENCE", 0.2)
    turn = Turn(kept.path)
    with turn:
        alone = asyncio.create_task(held.writer.alone(lambda _: "done"))
        await asyncio.sleep(0.05)
        (waits,) = await held.waiting(put("a"))
        with pytest.raises(StoreError, match="keeps it locked"):
            await waits
    turn.close()
    assert await alone == "done"


async def test_others_wait_where_another_came_between_a_failure_and_them(kept: Kept, held: Held) -> None:
    with closing(sqlite.writer(kept.path)) as other:

        def fails(records: SQLiteRecords) -> None:
            asyncio.get_running_loop().call_soon(other.execute, "BEGIN IMMEDIATE")
            fail(records)

        no, waits = await held.waiting(fails, put("a"))
        with pytest.raises(StoreError, match=r"^no$"):
            await no
        assert not waits.done()
        other.execute("COMMIT")
        assert await waits == 1


async def test_the_log_is_left_alone_once_it_is_closed(held: Held) -> None:
    held.writer.close()
    held.writer._carry_over()
    with pytest.raises(StoreError, match="was closed"):
        await held.writer.alone(lambda _: None)
    await held.writer.on_disk()


@pytest.mark.parametrize("by", ["thread", *(["kernel"] if sys.platform == "linux" else [])])
async def test_who_waits_for_a_disk_that_hangs_is_told_and_the_vault_closes(
    held: Held, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = threading.Event()
    monkeypatch.setattr(writer, "_PATIENCE", 0.2)
    if by == "kernel":
        await held.writer.write(put("a"))
        await until_kernel_syncs(held.writer._disk)
        await held.writer.write(put("b"))
        # No kernel can be had to hang.
        monkeypatch.setattr(KernelSync, "_begin", lambda kernel: kernel.line.begin())
    monkeypatch.setattr(log_sync, "_SYNC", lambda _: go.wait(10))
    with pytest.raises(StoreError, match="failed: its disk has not taken it"):
        await asyncio.wait_for(held.writer.write(put("c")), 5)
    late = asyncio.create_task(held.writer.on_disk())
    await asyncio.sleep(0)
    began = time.monotonic()
    await asyncio.to_thread(held.writer.close)
    assert time.monotonic() - began < 5
    go.set()
    await asyncio.wait([late], timeout=5)
    assert late.done()
    late.exception()
