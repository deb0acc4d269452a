from __future__ import annotations

import time
from pathlib import Path

from oo.gateway.context import GatewayContext
from oo.gateway.exposition import exposition
from oo.gateway.metrics import Metrics
from oo.gateway.models import Route
from oo.gateway.overview import by_route, by_token, look


def called(name: str | None) -> GatewayContext:
    context = GatewayContext()
    context.started, context.token_id, context.endpoint = time.monotonic() - 0.5, "t", "proxy"
    context.route = None if name is None else Route(name, "https://api.test")
    return context


def test_two_looks_tell_what_runs_now_the_busiest_first(tmp_path: Path) -> None:
    metrics = Metrics(tmp_path)
    for name in ("idle", "busy", None):
        metrics.ended(called(name), "allowed", 200, 100, 0.5)
    first = look(exposition(tmp_path).decode(), 10.0)
    for status in (200, 404, 502, 200):
        metrics.ended(called("busy"), "allowed", status, 100, 0.5)
    metrics.tell([("busy", "t", 1)])
    second = look(exposition(tmp_path).decode(), 12.0)
    busy, *others = by_route(second, first)
    assert 500 <= busy.pop("ms") < 5000
    assert busy == {
        "route": "busy",
        "open": 1,
        "calls": 5,
        "per_second": 2.0,
        "4xx": 1,
        "5xx": 1,
        "in_per_second": 0.0,
        "out_per_second": 200.0,
    }
    assert [(row["route"], row["per_second"], row["ms"]) for row in others] == [
        ("(the vault)", 0.0, None),
        ("idle", 0.0, None),
    ]
    assert by_token(second, first)[0] == {"token": "t", "route": "busy", "open": 1, "calls": 5, "per_second": 2.0}
    # Of one look alone, and of a gateway that was started anew, no rate can be told.
    assert by_route(second, None)[0]["per_second"] is None
    assert by_token(second._replace(at=12.0), second)[0]["per_second"] is None
    metrics.close()
