from __future__ import annotations

from pathlib import Path

import pytest

from oo.gateway.metered_store import metered
from oo.gateway.metrics import Metrics
from oo.gateway.shared_counts import added_up
from tests.support.stores import LenientStore


async def test_what_a_store_takes_and_fails_at_is_counted_by_its_method(tmp_path: Path) -> None:
    metrics = Metrics(tmp_path)
    store = metered(LenientStore("consume"), metrics)
    for _ in range(33):
        await store.authorize("t", "secret")
    assert await store.cors() == frozenset()  # what is read from memory is not timed
    with pytest.raises(RuntimeError):
        await store.consume("t", "secret")
    await store.check()
    counted = {key: numbers for key, numbers, _ in added_up(tmp_path)}
    assert sum(counted["oo_store_seconds", "authorize"][:-1]) == 3  # one in 16
    assert sum(counted["oo_store_seconds", "check"][:-1]) == 1
    assert sum(counted["oo_store_seconds", "consume"]) == 0
    assert counted["oo_store_errors", "consume"] == [1.0]
    metrics.close()
