from __future__ import annotations

import asyncio

import pytest

from oo.gateway.http_server import data_rate
from oo.gateway.http_server.data_rate import MinDataRate


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_rate, "MIN_RATE_WINDOW", 0.01)
    monkeypatch.setattr(data_rate, "MIN_RATE_BYTES", 10)


@pytest.mark.parametrize(("bytes_a_window", "windows"), [(0, 1), (9, 1), (10, 5), (11, 5)])
async def test_what_passes_too_slowly_is_called_so_once(bytes_a_window: int, windows: int) -> None:
    asked, slow = 0, asyncio.Event()

    def passed() -> int:
        nonlocal asked
        asked += 1
        # The rate holds for so many windows, and then nothing more passes.
        return bytes_a_window * min(asked, windows)

    MinDataRate(passed, slow.set)
    await asyncio.wait_for(slow.wait(), 10)
    assert asked == (2 if bytes_a_window < 10 else windows + 1)


async def test_no_time_passes_in_a_pause() -> None:
    slow = asyncio.Event()
    watch = MinDataRate(lambda: 0, slow.set)
    watch.pause()
    await asyncio.sleep(0.05)
    assert not slow.is_set()
    watch.resume()
    await asyncio.wait_for(slow.wait(), 10)


async def test_what_was_stopped_is_never_slow() -> None:
    slow: list[str] = []
    watch = MinDataRate(lambda: 0, lambda: slow.append("slow"))
    watch.stop()
    await asyncio.sleep(0.05)
    assert slow == []
