from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from oo.gateway.errors import StoreError
from oo.gateway.store import log_sync
from oo.gateway.store.log_sync import LogSync
from tests.support.disks import Disk, outcome


async def test_what_comes_while_the_disk_is_waited_for_shares_the_next_sync(path: Path, disk: Disk) -> None:
    log = LogSync(path)
    outcomes = [outcome(n) for n in range(4)]
    log.tell(outcomes[:1])
    await asyncio.to_thread(disk.begun.wait, 10)
    for each in outcomes[1:]:
        log.tell([each])
    await asyncio.sleep(0.02)
    assert not any(future.done() for future, *_ in outcomes)
    disk.go.set()
    assert await asyncio.gather(*(future for future, *_ in outcomes)) == [0, 1, 2, 3]
    assert disk.syncs == 2
    log.close()


async def test_whatever_fails_is_told_and_the_next_are_served(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: int) -> None:
        raise MemoryError

    log, (future, *of_it), (next_one, *of_next) = LogSync(path), outcome(1), outcome(2)
    monkeypatch.setattr(log_sync, "_SYNC", fails)
    log.tell([(future, *of_it)])
    with pytest.raises(StoreError, match="failed: MemoryError"):
        await future
    monkeypatch.setattr(log_sync, "_SYNC", int)
    log.tell([(next_one, *of_next)])
    assert await next_one == 2
    log.close()


async def test_the_rest_is_told_when_it_closes(path: Path, disk: Disk) -> None:
    log, (future, value, error) = LogSync(path), outcome(1)
    log.tell([outcome(0)])
    await asyncio.to_thread(disk.begun.wait, 10)
    log.tell([(future, value, error)])
    closing = asyncio.create_task(asyncio.to_thread(log.close))
    await asyncio.sleep(0.02)
    assert not closing.done()
    disk.go.set()
    await closing
    assert await future == 1


async def test_each_is_told_of_an_error_of_its_own_and_the_operator_of_one(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(log_sync, "_SYNC", fails)
    log, outcomes = LogSync(path), [outcome(0), outcome(None, StoreError("no"))]
    log.tell(outcomes)
    errors = await asyncio.gather(*(future for future, *_ in outcomes), return_exceptions=True)
    assert [str(error) for error in errors] == [f"the vault {path} failed: Input/output error"] * 2
    assert errors[0] is not errors[1]
    assert [record.getMessage() for record in caplog.records] == [str(errors[0])]
    log.close()


async def test_it_outlives_what_fails_on_its_thread(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails() -> None:
        raise ValueError("no")

    monkeypatch.setattr(log_sync, "_OFTEN", 1)
    log = LogSync(path, fails)
    for n in range(2):
        told = outcome(n)
        log.tell([told])
        assert await told[0] == n
    log.close()
    assert caplog.text.count("syncing the vault's log failed: ValueError") == 2


async def test_whoever_has_left_and_whose_loop_is_gone_are_passed_over(path: Path) -> None:
    gone = asyncio.new_event_loop()
    elsewhere = gone.create_future()
    gone.close()
    left, stays = outcome(1), outcome(2)
    left[0].cancel()
    log = LogSync(path)
    log.tell([(elsewhere, 0, None), left, stays])
    assert await stays[0] == 2
    log.close()


async def test_after_a_sync_that_failed_the_whole_log_is_written_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Linux takes what a failed sync left unwritten for written: only what is written anew reaches the disk.
    log_file, failing = path.with_name("v-wal"), [False, True, True, False, False]
    content = bytes(range(256)) * 9000
    log_file.write_bytes(content)
    written = list[int]()

    def sync(_handle: int) -> None:
        written.append(log_file.stat().st_mtime_ns)
        if failing.pop(0):
            raise OSError(errno.EIO, "the disk")

    monkeypatch.setattr(log_sync, "_SYNC", sync)
    log = LogSync(path)
    told: list[object] = []
    for number in range(5):
        os.utime(log_file, ns=(0, 0))
        asked = outcome(number)
        log.tell([asked])
        told += await asyncio.gather(asked[0], return_exceptions=True)
    log.close()
    assert [isinstance(each, StoreError) for each in told] == [False, True, True, False, False]
    assert [at > 0 for at in written] == [False, False, True, True, False]
    assert log_file.read_bytes() == content


async def test_the_log_s_name_is_synced_until_that_has_succeeded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names, failing = list[str](), [True, False, False]

    @contextmanager
    def named(folder: str) -> Iterator[None]:
        yield
        names.append(folder)

    def sync(_handle: int) -> None:
        if failing.pop(0):
            raise OSError(errno.EIO, "the disk")

    monkeypatch.setattr(log_sync, "_SYNC", sync)
    monkeypatch.setattr(log_sync, "synced", named)
    log = LogSync(path)
    for number in range(3):
        asked = outcome(number)
        log.tell([asked])
        await asyncio.gather(asked[0], return_exceptions=True)
    log.close()
    assert names == [str(path.parent)]
