"""What Prometheus is told of a gateway, over all workers of a machine.

No label is one that a caller chooses: `route` is a route's name, `token` a token's id, both an owner's.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from operator import add
from pathlib import Path
from struct import Struct
from time import time
from typing import NamedTuple, TypeAlias
from urllib.parse import urlsplit

from .._core.masking import MASKED
from .context import GatewayContext
from .shared_counts import NOWHERE, SharedCounts

UnderWay: TypeAlias = "tuple[str, str, int]"
"""A route's name, a token's id, and how many calls of theirs are under way."""

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
    "oo_store_errors": ("What the store failed at.", ("operation", "engine")),
}
HISTOGRAMS = {
    "oo_call_head_seconds": ("Until the head of the answer.", ("route",)),
    "oo_call_seconds": ("Until the end of the answer.", ("route",)),
    "oo_store_seconds": ("What the store took.", ("operation", "engine")),
}
GAUGES = {
    "oo_open_calls": ("Calls under way.", ("route", "token")),
    "oo_upstream_rests": ("Workers that ask an upstream last, since it failed.", ("route", "number", "upstream")),
}
BUCKETS = len(SECONDS) + 1
"""The buckets of a histogram, of which the last has no bound. The sum stands behind them."""
_SUMS = Struct("5d")  # what stands behind the buckets of ended calls
_OTHERS = "others"
_INTERVAL = 0.25  # seconds after which it is told what is under way
_TOKENS = 1000  # that have a label of their own in a process; the rest of them share one


class Ended(NamedTuple):
    """What the cells of calls that ended in one way say, of which some answers came at once and others in pieces: of
    those, the seconds to the head and to the end are counted apart. A histogram has its buckets, then its sum."""

    calls: float
    head: list[float]
    whole: list[float]
    sent: float
    received: float

    @staticmethod
    def of(cells: Sequence[float]) -> Ended:
        """What the cells of `oo_calls` say."""
        once, whole, head = (cells[at : at + BUCKETS] for at in range(0, 3 * BUCKETS, BUCKETS))
        once_seconds, whole_seconds, head_seconds, sent, received = cells[3 * BUCKETS :]
        return Ended(
            sum(once) + sum(whole),
            [*map(add, once, head), once_seconds + head_seconds],
            [*map(add, once, whole), once_seconds + whole_seconds],
            sent,
            received,
        )


class Metrics:
    """The gateway's counters, gauges and histograms, of one process."""

    def __init__(self, directory: Path) -> None:
        self._counts = SharedCounts(directory)
        self.cells = self._counts.cells
        self._sums = partial(_SUMS.pack_into, self.cells)
        self._ends: dict[tuple[str, str, str, int], _Ended] = {}
        self._ways: dict[tuple[str, ...], _Ended] = {}
        self._tokens: dict[str, dict[str | None, int]] = {}
        self._room = _TOKENS
        self._named: dict[tuple[str, ...], int] = {}
        self._told: set[int] = set()  # where it was told that calls are under way
        self._masked = MASKED.count

    def count(self, amount: float, *key: str) -> None:
        """Add to a counter that is seldom needed."""
        self.cells[self._at(*key)] += amount

    def timed(self, *key: str) -> int:
        """Where the seconds of a histogram are counted, for `observe`."""
        return self._at(*key, cells=BUCKETS + 1)

    def observe(self, at: int, seconds: float) -> None:
        """Count what took so many seconds."""
        cells = self.cells
        cells[at + bisect_left(SECONDS, seconds)] += 1.0
        cells[at + BUCKETS] += seconds

    def ended(self, context: GatewayContext, outcome: str, status: int, bytes_out: int, seconds: float) -> None:
        """Count a call that has ended, so many seconds after it began."""
        # Written out: each call passes here, and a function more costs as much as all of this together.
        cells, route, head = self.cells, context.route, context.head
        name = "" if route is None else route.name
        try:
            at = self._ends[name, context.endpoint, outcome, status]
        except KeyError:
            at = self._ends[name, context.endpoint, outcome, status] = self._way(name, context, outcome, status)
        if head is None:
            cells[at.once + bisect_left(SECONDS, seconds)] += 1.0
            at.once_seconds += seconds
        else:
            cells[at.whole + bisect_left(SECONDS, seconds)] += 1.0
            cells[at.head + bisect_left(SECONDS, head)] += 1.0
            at.whole_seconds += seconds
            at.head_seconds += head
        at.sent += bytes_out
        at.received += context.bytes_in
        self._sums(at.sums, at.once_seconds, at.whole_seconds, at.head_seconds, at.sent, at.received)
        try:
            cells[at.tokens[context.token_id]] += 1.0
        except KeyError:
            cells[self._token(name, context.token_id or "")] += 1.0
        if at.refused or context.attempts > 1 or context.joined or MASKED.count != self._masked:
            self._count_seldom(context, name, refused=at.refused)

    def tell(self, under_way: Iterable[UnderWay]) -> None:
        """Tell what is under way."""
        now: Counter[int] = Counter()
        for name, token, calls in under_way:
            known = self._room > 0 or token in self._tokens_of(name)
            now[self._at("oo_open_calls", name, token if known else _OTHERS)] += calls
        for at in self._told - now.keys():
            self.cells[at] = 0.0
        for at, calls in now.items():
            self.cells[at] = calls
        self._told = set(now)

    async def watch(self, under_way: Callable[[], Iterable[UnderWay]]) -> None:
        """Tell what is under way four times a second, without end."""
        while True:
            self.tell(under_way())
            self._count_masked()  # of answers that flow still
            await asyncio.sleep(_INTERVAL)

    def rests(self, route: str, number: int, upstream: str, seconds: float) -> None:
        """Note that an upstream rests for so many seconds from here on. `number` is its place in the route."""
        parts = urlsplit(upstream)
        port = f":{parts.port}" if parts.port else ""  # neither its path nor a password, which may hold a secret
        at = self._at("oo_upstream_rests", route, str(number), f"{parts.hostname}{port}")
        self.cells[at] = time() + seconds if seconds else 0.0

    def close(self) -> None:
        """Count no more. What was counted stays."""
        self._count_masked()
        self._counts.close()

    def _count_seldom(self, context: GatewayContext, name: str, *, refused: bool) -> None:
        if refused and context.outcome is not None:
            self.count(1, "oo_refused", context.outcome)
        if context.attempts > 1:
            self.count(context.attempts - 1, "oo_retries", name)
        if context.joined:
            self.count(context.joined, "oo_joined", name)
        self._count_masked()

    def _count_masked(self) -> None:
        masked, self._masked = MASKED.count - self._masked, MASKED.count
        if masked:
            self.count(masked, "oo_masked")

    def _way(self, name: str, context: GatewayContext, outcome: str, status: int) -> _Ended:
        key = ("oo_calls", name, context.endpoint, outcome, f"{status // 100}xx")
        if key not in self._ways:  # several statuses are of one class
            refused = status >= 400 and not outcome.startswith("upstream")
            at = self._at(*key, cells=3 * BUCKETS + _SUMS.size // 8)
            self._ways[key] = _Ended(at, self._tokens_of(name), refused=refused)
        return self._ways[key]

    def _tokens_of(self, name: str) -> dict[str | None, int]:
        return self._tokens.setdefault(name, {None: NOWHERE})

    def _token(self, name: str, token: str) -> int:
        if self._room <= 0:
            return self._at("oo_token_calls", name, _OTHERS)
        self._room -= 1
        at = self._tokens_of(name)[token] = self._at("oo_token_calls", name, token)
        return at

    def _at(self, *key: str, cells: int = 1) -> int:
        if key not in self._named:
            self._named[key] = self._counts.name(*key, cells=cells)
        return self._named[key]


class _Ended:
    """What is counted of the calls that ended in one way. See `Ended`."""

    __slots__ = (
        "head",
        "head_seconds",
        "once",
        "once_seconds",
        "received",
        "refused",
        "sent",
        "sums",
        "tokens",
        "whole",
        "whole_seconds",
    )

    def __init__(self, first: int, tokens: dict[str | None, int], *, refused: bool) -> None:
        self.once, self.whole, self.head = first, first + BUCKETS, first + 2 * BUCKETS
        self.sums = 8 * (first + 3 * BUCKETS)  # in bytes
        self.once_seconds = self.whole_seconds = self.head_seconds = 0.0
        self.sent = self.received = 0
        self.tokens = tokens
        self.refused = refused
