"""What Prometheus is told of a gateway, over all workers of a machine.

No label is one that a caller chooses: `route` is a route's name, `token` a token's id, both an owner's.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from pathlib import Path
from urllib.parse import urlsplit

from .context import GatewayContext
from .shared_counts import SharedCounts
from .upstream_choice import REST

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
"""The upper bounds of the histograms' buckets."""

COUNTERS = {
    "oo_calls": ("Calls that have ended.", ("route", "operation", "outcome", "status")),
    "oo_received_bytes": ("Bytes of callers' bodies.", ("route",)),
    "oo_sent_bytes": ("Bytes of answers' bodies.", ("route",)),
    "oo_refused": ("Calls that the gateway refused.", ("reason",)),
    "oo_retries": ("Attempts after the first.", ("route",)),
    "oo_joined": ("Calls that waited for what another one fetched.", ("route",)),
    "oo_masked": ("Secrets that were masked in answers.", ()),
    "oo_audit_lost": ("Lines of the audit that could not be written.", ()),
    "oo_token_calls": ("Calls by token.", ("route", "token")),
    "oo_store_errors": ("What the store failed at.", ("method",)),
}
HISTOGRAMS = {
    "oo_call_head_seconds": ("Until the head of the answer.", ("route",)),
    "oo_call_seconds": ("Until the end of the answer.", ("route",)),
    "oo_store_seconds": ("What the store took.", ("method",)),
}
GAUGES = {
    "oo_open_calls": ("Calls under way.", ("route", "token")),
    "oo_upstream_rests_until_seconds": (
        "Until when an upstream that failed is asked last, in seconds since 1970.",
        ("route", "upstream"),
    ),
}
_TOKENS = 1000  # that have a label of their own in a process; the rest of them share one


class Metrics:
    """The gateway's counters, gauges and histograms, of one process."""

    def __init__(self, directory: Path) -> None:
        self._counts = SharedCounts(directory)
        self.cells = self._counts.cells
        self._routes: dict[str, _OfRoute] = {}
        self._tokens: dict[tuple[str, str | None], tuple[int, int]] = {}
        self._ends: dict[tuple[str, str, str, int], int] = {}
        self._named: dict[tuple[str, ...], int] = {}

    def count(self, amount: float, *key: str) -> None:
        """Add to a counter that is seldom needed."""
        self.cells[self._at(*key)] += amount

    def timed(self, *key: str) -> int:
        """Where the seconds of a histogram are counted, for `observe`."""
        return self._counts.name(*key, cells=len(SECONDS) + 2)

    def observe(self, at: int, seconds: float) -> None:
        """Count what took so many seconds."""
        cells = self.cells
        cells[at + bisect_left(SECONDS, seconds)] += 1.0
        cells[at + len(SECONDS) + 1] += seconds

    def ended(self, context: GatewayContext, outcome: str, status: int, head: float | None, bytes_out: int) -> None:
        """Count a call that has ended; `head` is when the head of its answer was there, in seconds from its begin."""
        name, cells = "" if context.route is None else context.route.name, self.cells
        key = (name, context.endpoint, outcome, status // 100)
        at = self._ends.get(key)
        if at is None:
            at = self._ends[key] = self._counts.name("oo_calls", *key[:3], f"{status // 100}xx")
        cells[at] += 1.0
        route = self._routes.get(name) or self._route(name)
        if head is not None:
            self.observe(route.head, head)
        self.observe(route.whole, time.monotonic() - context.started)
        cells[route.received] += context.bytes_in
        cells[route.sent] += bytes_out
        if context.attempts > 1:
            self.count(context.attempts - 1, "oo_retries", name)
        if context.joined:
            self.count(context.joined, "oo_joined", name)
        if status >= 400 and context.outcome is not None and not context.outcome.startswith("upstream"):
            self.count(1, "oo_refused", context.outcome)

    def of_token(self, context: GatewayContext) -> tuple[int, int]:
        """Where the calls of a token are counted: all of them, and those under way."""
        name = "" if context.route is None else context.route.name
        found = self._tokens.get((name, context.token_id))
        if found is None:
            token = context.token_id or ""
            if len(self._tokens) >= _TOKENS:
                return self._at("oo_token_calls", name, "others"), self._at("oo_open_calls", name, "others")
            found = self._at("oo_token_calls", name, token), self._at("oo_open_calls", name, token)
            self._tokens[name, context.token_id] = found
        return found

    def rested(self, route: str, upstream: str) -> None:
        """Note that an upstream rests from here on."""
        parts = urlsplit(upstream)
        port = f":{parts.port}" if parts.port else ""  # neither its path nor a password, which may hold a secret
        at = self._at("oo_upstream_rests_until_seconds", route, f"{parts.hostname}{port}")
        self.cells[at] = time.time() + REST

    def close(self) -> None:
        """Count no more. What was counted stays."""
        self._counts.close()

    def _at(self, *key: str) -> int:
        if key not in self._named:
            self._named[key] = self._counts.name(*key)
        return self._named[key]

    def _route(self, name: str) -> _OfRoute:
        counts = self._routes[name] = _OfRoute(self, name)
        return counts


class _OfRoute:
    """Where the calls of a route are counted."""

    __slots__ = ("head", "received", "sent", "whole")

    def __init__(self, metrics: Metrics, name: str) -> None:
        self.head, self.whole = metrics.timed("oo_call_head_seconds", name), metrics.timed("oo_call_seconds", name)
        self.received, self.sent = metrics._at("oo_received_bytes", name), metrics._at("oo_sent_bytes", name)
