from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from oo.gateway.context import GatewayContext
from oo.gateway.exposition import exposition
from oo.gateway.metrics import Metrics
from oo.gateway.models import Route
from oo.gateway.shared_counts import bury


def samples(directory: Path) -> dict[tuple[str, ...], float]:
    """What prometheus-client's own parser reads: a name and the values of its labels, in the order of their names."""
    families = text_string_to_metric_families(exposition(directory).decode())
    return {
        (sample.name, *dict(sorted(sample.labels.items())).values()): sample.value
        for family in families
        for sample in family.samples
    }


def called(**known: object) -> GatewayContext:
    context = GatewayContext()
    context.started, context.endpoint = time.monotonic(), "proxy"
    context.route = Route("r", "https://api.test")
    for name, value in known.items():
        setattr(context, name, value)
    return context


def test_what_several_processes_have_counted_is_added_up(tmp_path: Path) -> None:
    both = [Metrics(tmp_path), Metrics(tmp_path)]
    for metrics in both:
        metrics.ended(called(bytes_in=10, head=0.002), "allowed", 200, 20, 0.01)
        metrics.ended(called(outcome="used up", route=None, endpoint="secret"), "used up", 401, 5, 0.0001)
    found = samples(tmp_path)
    assert found["oo_calls_total", "proxy", "allowed", "r", "2xx"] == 2
    assert found["oo_calls_total", "secret", "used up", "", "4xx"] == 2
    assert (found["oo_received_bytes_total", "r"], found["oo_sent_bytes_total", "r"]) == (20, 40)
    assert found["oo_refused_total", "used up"] == 2
    assert (
        found["oo_call_head_seconds_bucket", "0.001", "r"],
        found["oo_call_head_seconds_bucket", "0.0025", "r"],
    ) == (
        0,
        2,
    )
    assert found["oo_call_head_seconds_bucket", "+Inf", "r"] == found["oo_call_head_seconds_count", "r"] == 2
    assert found["oo_call_head_seconds_sum", "r"] == pytest.approx(0.004)
    assert found["oo_masked_total",] == found["oo_audit_lost_total",] == 0
    assert found["process_resident_memory_bytes", str(os.getpid())] > 0
    for metrics in both:
        metrics.close()


@pytest.mark.parametrize(
    ("context", "status", "counted"),
    [
        (called(attempts=3), 200, {("oo_retries_total", "r"): 2.0}),
        (called(joined=2), 200, {("oo_joined_total", "r"): 2.0}),
        (called(outcome="upstream timeout"), 504, {}),
        (called(outcome="too busy"), 503, {("oo_refused_total", "too busy"): 1.0}),
        (called(outcome="preflight"), 204, {}),
    ],
)
def test_what_is_seldom_is_counted_where_it_is(
    tmp_path: Path, context: GatewayContext, status: int, counted: dict[tuple[str, ...], float]
) -> None:
    metrics = Metrics(tmp_path)
    metrics.ended(context, context.outcome or "allowed", status, 0, 0.0)
    seldom = ("oo_retries_total", "oo_joined_total", "oo_refused_total")
    assert {key: value for key, value in samples(tmp_path).items() if key[0] in seldom} == counted
    metrics.close()


def test_what_is_so_now_is_of_the_living_alone_and_what_was_is_of_all(tmp_path: Path) -> None:
    metrics = Metrics(tmp_path)
    for _ in range(3):
        metrics.ended(called(token_id="t"), "allowed", 200, 0, 0.0)
    metrics.tell([("r", "t", 1)])
    metrics.rests("r", 1, "https://user:secret@api.test:8443/bot-secret", 10.0)
    found = samples(tmp_path)
    assert (found["oo_token_calls_total", "r", "t"], found["oo_open_calls", "r", "t"]) == (3, 1)
    assert found["oo_upstream_rests", "1", "r", "api.test:8443"] == 1
    bury(tmp_path, os.getpid())
    found = samples(tmp_path)
    assert found["oo_token_calls_total", "r", "t"] == 3
    assert not any(key[0] in ("oo_open_calls", "oo_upstream_rests") for key in found)
    metrics.close()


@pytest.mark.parametrize(
    ("seconds", "resting"), [((10.0, 10.0), 2), ((10.0, -1.0), 1), ((10.0, 0.0), 1), ((0.0, 0.0), 0)]
)
def test_an_upstream_rests_for_so_many_workers(tmp_path: Path, seconds: tuple[float, float], resting: int) -> None:
    both = [Metrics(tmp_path), Metrics(tmp_path)]
    for metrics, each in zip(both, seconds, strict=True):
        metrics.rests("r", 0, "https://api.test", 10.0)
        metrics.rests("r", 0, "https://api.test", each)
    assert samples(tmp_path)["oo_upstream_rests", "0", "r", "api.test"] == resting
    for metrics in both:
        metrics.close()
