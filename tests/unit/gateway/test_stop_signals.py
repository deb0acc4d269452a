from __future__ import annotations

import pytest

from oo.gateway.stop_signals import TOGETHER, StopSignals


@pytest.mark.parametrize(
    ("at", "count"),
    [
        ([], 0),
        ([0.0], 1),
        ([0.0, 0.0, TOGETHER / 2], 1),
        ([0.0, TOGETHER], 2),
        ([0.0, TOGETHER / 2, TOGETHER], 2),
        ([0.0, TOGETHER, TOGETHER], 3),
    ],
)
def test_what_comes_together_counts_once(at: list[float], count: int) -> None:
    times = iter(at)
    stops = StopSignals(lambda: next(times))
    for _ in at:
        stops.note()
    assert stops.count == count
