from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest

from oo.gateway.store import log_sync
from oo.gateway.store.log_sync import LogSync
from tests.support.disks import Disk, outcome, until_kernel_syncs

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the thread makes all syncs elsewhere")


@pytest.fixture
async def kernel(path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[LogSync, list[int]]]:
    """A log whose first sync was made, so that the kernel makes the next; and the syncs of the thread."""
    syncs = list[int]()
    monkeypatch.setattr(log_sync, "_SYNC", syncs.append)
    log, first = LogSync(path), outcome(0)
    log.tell([first], asyncio.get_running_loop())
    await first[0]
    await until_kernel_syncs(log)
    yield log, syncs
    log.close()


async def made_by_kernel(log: LogSync, value: object) -> object:
    asked = outcome(value)
    log.tell([asked], asyncio.get_running_loop())
    return await asyncio.wait_for(asked[0], 10)


async def test_the_kernel_makes_the_syncs_of_one_loop(kernel: tuple[LogSync, list[int]]) -> None:
    log, syncs = kernel
    assert await asyncio.gather(*(made_by_kernel(log, n) for n in range(20))) == list(range(20))
    assert len(syncs) == 1
    assert await asyncio.to_thread(asyncio.run, made_by_kernel(log, "elsewhere")) == "elsewhere"
    assert len(syncs) == 2


async def test_who_waits_on_another_loop_does_not_wait_for_the_one_that_has_the_kernel(
    kernel: tuple[LogSync, list[int]],
) -> None:
    log, syncs = kernel
    here = asyncio.get_running_loop()

    async def elsewhere() -> int:
        asked = outcome(1)
        here.call_soon_threadsafe(log.tell, [asked], here)
        value: int = await asyncio.wait_for(asked[0], 10)
        assert len(syncs) == 2  # the thread's
        return value

    assert await asyncio.to_thread(asyncio.run, elsewhere()) == 1


@pytest.mark.parametrize("moment", ["asked", "answered"])
async def test_whom_the_kernel_fails_the_thread_serves_with_the_log_written_again(
    kernel: tuple[LogSync, list[int]], path: Path, moment: str
) -> None:
    log, syncs = kernel
    log_file = path.with_name("v-wal")
    assert await made_by_kernel(log, 1) == 1
    log_file.write_bytes(b"log")
    os.utime(log_file, ns=(0, 0))
    asked, next_one = outcome(2), outcome(3)
    assert log._kernel is not None
    if moment == "asked":
        with open(os.devnull, "r+b") as null:
            os.dup2(null.fileno(), log._kernel._file)  # which takes no sync
    log.tell([asked], asyncio.get_running_loop())
    if moment == "answered":
        failing = SimpleNamespace(get_value=Mock(side_effect=SystemError("Input/output error")))
        log._kernel._operation = failing  # type: ignore[assignment]  # a disk cannot be had to fail
    log.tell([next_one], asyncio.get_running_loop())
    assert await asyncio.gather(asked[0], next_one[0]) == [2, 3]
    assert log._kernel is None
    assert len(syncs) in (2, 3)
    assert log_file.stat().st_mtime_ns > 0


async def test_whom_the_kernel_has_not_told_is_told_when_the_log_closes(path: Path, disk: Disk) -> None:
    log, first, asked = LogSync(path), outcome(0), outcome(1)
    disk.go.set()
    log.tell([first])
    await first[0]
    await until_kernel_syncs(log)
    log.tell([asked], asyncio.get_running_loop())
    log.close()
    assert await asked[0] == 1
    assert disk.syncs == 2


async def test_a_log_closes_whose_loop_has_ended(path: Path) -> None:
    log = LogSync(path)

    async def leave() -> None:
        await made_by_kernel(log, 0)
        await until_kernel_syncs(log)
        log.tell([outcome(1)], asyncio.get_running_loop())

    await asyncio.to_thread(asyncio.run, leave())
    assert log._kernel is not None
    await asyncio.wait_for(asyncio.to_thread(log.close), 10)


async def test_nothing_is_left_of_a_log_that_closes_while_the_kernel_syncs(path: Path) -> None:
    def files() -> int:
        return len(os.listdir("/proc/self/fd"))

    before = files()
    for _ in range(20):
        log = LogSync(path)
        await made_by_kernel(log, 0)
        await until_kernel_syncs(log)
        asked = outcome(1)
        log.tell([asked], asyncio.get_running_loop())
        log.close()
        assert await asked[0] == 1
        del log
    assert files() <= before + 2


async def test_the_thread_goes_on_where_no_file_can_be_opened(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = LogSync(path)
    await made_by_kernel(log, 0)
    await until_kernel_syncs(log)
    monkeypatch.setattr("oo.gateway.store.kernel_sync.os.open", Mock(side_effect=OSError(24, "Too many open files")))
    assert [await made_by_kernel(log, n) for n in (1, 2)] == [1, 2]
    monkeypatch.undo()
    log.close()


@pytest.mark.parametrize("lack", ["the library", "leave of the kernel"])
async def test_the_thread_syncs_where_the_kernel_does_not(
    path: Path, lack: str, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk.go.set()
    if lack == "the library":
        monkeypatch.setitem(sys.modules, "caio.linux_aio", None)
    else:
        monkeypatch.setattr("caio.linux_aio.Context", Mock(side_effect=SystemError("Function not implemented")))
    log = LogSync(path)
    assert [await made_by_kernel(log, n) for n in range(3)] == [0, 1, 2]
    assert (log._context, disk.syncs) == (None, 3)
    log.close()
