from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from oo._core.masking import Mask
from oo.gateway import metrics as module
from oo.gateway.context import GatewayContext
from oo.gateway.metrics import COUNTERS, GAUGES, HISTOGRAMS, SECONDS, Ended, Metrics
from oo.gateway.shared_counts import added_up
from tests.support.waiting import PATIENCE


def test_no_label_is_one_that_a_caller_chooses() -> None:
    labels = {label for table in (COUNTERS, GAUGES, HISTOGRAMS) for _, names in table.values() for label in names}
    assert labels == {"route", "operation", "outcome", "status", "reason", "token", "engine", "number", "upstream"}


@pytest.mark.parametrize(("seconds", "bucket"), [(0.0, 0), (0.001, 0), (0.0011, 1), (300.0, 15), (301.0, 16)])
def test_seconds_are_counted_in_the_first_bucket_that_holds_them(tmp_path: Path, seconds: float, bucket: int) -> None:
    metrics = Metrics(tmp_path)
    metrics.observe(metrics.timed("oo_store_seconds", "claim"), seconds)
    ((_, numbers, _),) = added_up(tmp_path)
    assert numbers == [float(at == bucket) for at in range(len(SECONDS) + 1)] + [seconds]
    metrics.close()


def counted(directory: Path, counter: str) -> dict[tuple[str, ...], float]:
    return {key[1:]: numbers[0] for key, numbers, _ in added_up(directory) if key[0] == counter}


@pytest.mark.parametrize("named", [True, False])
def test_many_tokens_share_a_label(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: bool) -> None:
    monkeypatch.setattr(module, "_TOKENS", 2)
    metrics = Metrics(tmp_path)
    for name in ("a", "b", "c", "d", "a"):
        context = GatewayContext()
        context.token_id = name if named else None
        metrics.ended(context, "allowed", 200, 0, 0.0)
    metrics.tell([("", "a", 1), ("", "c", 2), ("", "d", 3)])
    known = {("", "a"): 2.0, ("", "b"): 1.0, ("", "others"): 2.0} if named else {}
    assert counted(tmp_path, "oo_token_calls") == known
    if named:
        assert counted(tmp_path, "oo_open_calls") == {("", "a"): 1.0, ("", "others"): 5.0}
    metrics.close()


def test_what_is_under_way_is_told_until_nothing_is(tmp_path: Path) -> None:
    metrics = Metrics(tmp_path)
    metrics.tell([("r", "t", 2), ("", "u", 1)])
    metrics.tell([("r", "t", 1)])
    assert counted(tmp_path, "oo_open_calls") == {("r", "t"): 1.0, ("", "u"): 0.0}
    metrics.tell([])
    assert counted(tmp_path, "oo_open_calls") == {("r", "t"): 0.0, ("", "u"): 0.0}
    metrics.close()


async def test_it_is_told_again_and_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_INTERVAL", 0.01)
    metrics = Metrics(tmp_path)
    looks = iter([[("", "t", 1)], [("", "t", 2)]])
    told = asyncio.Event()

    def look() -> list[tuple[str, str, int]]:
        found = next(looks, None)
        if found is None:
            told.set()
        return found or []

    Mask(["secret-value"]).data(b"a secret-value, and a secret-value")
    watching = asyncio.create_task(metrics.watch(look))
    await asyncio.wait_for(told.wait(), PATIENCE)
    watching.cancel()
    assert counted(tmp_path, "oo_open_calls") == {("", "t"): 0.0}
    assert counted(tmp_path, "oo_masked") == {(): 2.0}
    metrics.close()


def test_statuses_of_one_class_are_counted_together(tmp_path: Path) -> None:
    metrics = Metrics(tmp_path)
    for status in (200, 201, 200):
        metrics.ended(GatewayContext(), "allowed", status, 5, 0.5)
    ((key, cells, _),) = added_up(tmp_path)
    ended = Ended.of(cells)
    assert (key, ended.calls, ended.sent) == (("oo_calls", "", "other", "allowed", "2xx"), 3.0, 15.0)
    assert ended.whole[-1] == ended.head[-1] == 1.5
    metrics.close()
