"""What runs now, by route and by token, as two looks at a gateway's metrics tell. Pure."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, NamedTuple

from prometheus_client.parser import text_string_to_metric_families


class Look(NamedTuple):
    """What the metrics said at an instant (seconds): by route, and by route and token, what is counted and how much."""

    at: float
    routes: dict[str, dict[str, float]]
    tokens: dict[tuple[str, str], dict[str, float]]


_OF_ROUTE = {"oo_received_bytes_total": "in", "oo_sent_bytes_total": "out", "oo_call_seconds_sum": "seconds"}
_OF_TOKEN = {"oo_open_calls": "open", "oo_token_calls_total": "calls"}


def look(text: str, at: float) -> Look:
    """What a gateway's metrics say."""
    routes: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    tokens: dict[tuple[str, str], dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            route = sample.labels.get("route", "")
            if sample.name == "oo_calls_total":
                routes[route]["calls"] += sample.value
                routes[route][sample.labels["status"]] += sample.value
            elif sample.name in _OF_ROUTE:
                routes[route][_OF_ROUTE[sample.name]] += sample.value
            elif sample.name in _OF_TOKEN:
                tokens[route, sample.labels["token"]][_OF_TOKEN[sample.name]] += sample.value
                if sample.name == "oo_open_calls":
                    routes[route]["open"] += sample.value
    return Look(at, routes, tokens)


def by_route(now: Look, before: Look | None) -> list[dict[str, Any]]:
    """A row for each route, the busiest first; what is fetched from the vault has none."""
    rows = []
    for route, found in now.routes.items():
        since = {} if before is None else before.routes.get(route, {})
        calls = found["calls"] - since.get("calls", 0)
        seconds = found["seconds"] - since.get("seconds", 0)
        rows.append(
            {
                "route": route or "(the vault)",
                "open": int(found["open"]),
                "calls": int(found["calls"]),
                "per_second": _rate(found["calls"], since, "calls", now, before),
                "ms": round(1000 * seconds / calls, 1) if calls > 0 else None,
                "4xx": int(found["4xx"]),
                "5xx": int(found["5xx"]),
                "in_per_second": _rate(found["in"], since, "in", now, before),
                "out_per_second": _rate(found["out"], since, "out", now, before),
            }
        )
    return sorted(rows, key=lambda row: (-row["open"], -(row["per_second"] or 0), -row["calls"], row["route"]))


def by_token(now: Look, before: Look | None) -> list[dict[str, Any]]:
    """A row for each token, the busiest first."""
    rows = []
    for (route, token), found in now.tokens.items():
        since = {} if before is None else before.tokens.get((route, token), {})
        rate = _rate(found["calls"], since, "calls", now, before)
        known = {"token": token, "route": route or "(the vault)", "open": int(found["open"])}
        rows.append({**known, "calls": int(found["calls"]), "per_second": rate})
    return sorted(rows, key=lambda row: (-row["open"], -(row["per_second"] or 0), -row["calls"], row["token"]))


def _rate(count: float, since: dict[str, float], name: str, now: Look, before: Look | None) -> float | None:
    """How much a second since the look before; None where there was none, or the gateway was started anew."""
    grown = count - since.get(name, 0)
    if before is None or now.at <= before.at or grown < 0:
        return None
    return round(grown / (now.at - before.at), 1)
