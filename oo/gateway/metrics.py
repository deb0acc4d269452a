"""What Prometheus is told of a gateway, over all workers of a machine.

No label is one that a caller chooses: `route` is a route's name, `token` a token's id, both an owner's.
"""

from __future__ import annotations

from bisect import bisect_left
from pathlib import Path
from time import monotonic, time
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
    "oo_store_seconds": ("What the store took; of authorize each 16th.", ("method",)),
}
GAUGES = {
    "oo_open_calls": ("Calls under way.", ("route", "token")),
    "oo_upstream_rests_until_seconds": (
        "Until when an upstream that failed is asked last, in seconds since 1970.",
        ("route", "upstream"),
    ),
}
_SUM = len(SECONDS) + 1  # where the sum stands behind the buckets, of which the last has no bound
_OTHERS = "others"
_TOKENS = 1000  # that have a label of their own in a process; the rest of them share one


class Metrics:
    """The gateway's counters, gauges and histograms, of one process."""

    def __init__(self, directory: Path) -> None:
        self._counts = SharedCounts(directory)
        self.cells = self._counts.cells
        self._ends: dict[tuple[str, str, str, int], _Ended] = {}
        self._tokens: dict[tuple[str, str], int] = {}
        self._named: dict[tuple[str, ...], int] = {}

    def count(self, amount: float, *key: str) -> None:
        """Add to a counter that is seldom needed."""
        self.cells[self._at(*key)] += amount

    def timed(self, *key: str) -> int:
        """Where the seconds of a histogram are counted, for `observe`."""
        return self._at(*key, cells=len(SECONDS) + 2)

    def observe(self, at: int, seconds: float) -> None:
        """Count what took so many seconds."""
        cells = self.cells
        cells[at + bisect_left(SECONDS, seconds)] += 1.0
        cells[at + _SUM] += seconds

    def ended(
        self, context: GatewayContext, outcome: str, status: int, bytes_out: int, head: float | None = None
    ) -> None:
        """Count a call that has ended. `head` is when the head of its answer was there, in seconds from its begin; at
        the end, unless told."""
        # Written out: each call passes here, and a function more costs as much as three counts.
        seconds, cells = monotonic() - context.started, self.cells
        name = "" if context.route is None else context.route.name
        key = (name, context.endpoint, outcome, status)
        found = self._ends.get(key)
        if found is None:
            found = self._ends[key] = _Ended(self, key)
        bucket = bisect_left(SECONDS, seconds)
        cells[found.calls] += 1.0
        cells[found.whole + bucket] += 1.0
        cells[found.whole + _SUM] += seconds
        if head is None:
            cells[found.head + bucket] += 1.0
            cells[found.head + _SUM] += seconds
        else:
            self.observe(found.head, head)
        if bytes_out:
            cells[found.sent] += bytes_out
        if context.bytes_in:
            cells[found.received] += context.bytes_in
        token = context.token_id
        if token is not None:
            cells[self._tokens.get((name, token)) or self._token(name, token)] += 1.0
        if context.attempts > 1 or context.joined:
            self._count_seldom(context, name)
        if found.refused and context.outcome is not None:
            self.count(1, "oo_refused", outcome)

    def under_way(self, context: GatewayContext) -> int:
        """Where the calls of a token that are under way are told."""
        name, token = "" if context.route is None else context.route.name, context.token_id or ""
        known = not token or (name, token) in self._tokens or len(self._tokens) < _TOKENS
        return self._at("oo_open_calls", name, token if known else _OTHERS)

    def rested(self, route: str, upstream: str) -> None:
        """Note that an upstream rests from here on."""
        parts = urlsplit(upstream)
        port = f":{parts.port}" if parts.port else ""  # neither its path nor a password, which may hold a secret
        at = self._at("oo_upstream_rests_until_seconds", route, f"{parts.hostname}{port}")
        self.cells[at] = time() + REST

    def close(self) -> None:
        """Count no more. What was counted stays."""
        self._counts.close()

    def _count_seldom(self, context: GatewayContext, name: str) -> None:
        if context.attempts > 1:
            self.count(context.attempts - 1, "oo_retries", name)
        if context.joined:
            self.count(context.joined, "oo_joined", name)

    def _token(self, name: str, token: str) -> int:
        if len(self._tokens) >= _TOKENS:
            return self._at("oo_token_calls", name, _OTHERS)
        at = self._tokens[name, token] = self._at("oo_token_calls", name, token)
        return at

    def _at(self, *key: str, cells: int = 1) -> int:
        if key not in self._named:
            self._named[key] = self._counts.name(*key, cells=cells)
        return self._named[key]


class _Ended:
    """Where the calls that ended in one way are counted."""

    __slots__ = ("calls", "head", "received", "refused", "sent", "whole")

    def __init__(self, metrics: Metrics, key: tuple[str, str, str, int]) -> None:
        name, operation, outcome, status = key
        self.calls = metrics._at("oo_calls", name, operation, outcome, f"{status // 100}xx")
        self.head, self.whole = metrics.timed("oo_call_head_seconds", name), metrics.timed("oo_call_seconds", name)
        self.received, self.sent = metrics._at("oo_received_bytes", name), metrics._at("oo_sent_bytes", name)
        self.refused = status >= 400 and not outcome.startswith("upstream")
