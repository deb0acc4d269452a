from __future__ import annotations

from pathlib import Path

import pytest

from oo.gateway import metrics as module
from oo.gateway.context import GatewayContext
from oo.gateway.metrics import COUNTERS, GAUGES, HISTOGRAMS, SECONDS, Metrics
from oo.gateway.shared_counts import added_up


def test_no_label_is_one_that_a_caller_chooses() -> None:
    labels = {label for table in (COUNTERS, GAUGES, HISTOGRAMS) for _, names in table.values() for label in names}
    assert labels == {"route", "operation", "outcome", "status", "reason", "token", "method", "upstream"}


@pytest.mark.parametrize(("seconds", "bucket"), [(0.0, 0), (0.001, 0), (0.0011, 1), (300.0, 15), (301.0, 16)])
def test_seconds_are_counted_in_the_first_bucket_that_holds_them(tmp_path: Path, seconds: float, bucket: int) -> None:
    metrics = Metrics(tmp_path)
    metrics.observe(metrics.timed("oo_store_seconds", "claim"), seconds)
    ((_, numbers, _),) = added_up(tmp_path)
    assert numbers == [float(at == bucket) for at in range(len(SECONDS) + 1)] + [seconds]
    metrics.close()


def test_many_tokens_share_a_label(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_TOKENS", 2)
    metrics = Metrics(tmp_path)
    for name in ("a", "b", "c", "d", "a"):
        context = GatewayContext()
        context.token_id = name
        metrics.cells[metrics.under_way(context)] = 1
        metrics.ended(context, "allowed", 200, 0)
    for counter, counts in (("oo_token_calls", (2.0, 1.0, 2.0)), ("oo_open_calls", (1.0, 1.0, 1.0))):
        counted = {key[2]: numbers[0] for key, numbers, _ in added_up(tmp_path) if key[0] == counter}
        assert counted == dict(zip(("a", "b", "others"), counts, strict=True))
    metrics.close()
