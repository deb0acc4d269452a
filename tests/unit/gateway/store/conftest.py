from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from oo.gateway.store import log_sync
from tests.support.disks import Disk


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "v-wal").touch()
    return tmp_path / "v"


@pytest.fixture
async def disk(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Disk]:
    disk = Disk()
    monkeypatch.setattr(log_sync, "_SYNC", disk)
    yield disk
    disk.go.set()
