"""An audit that counts calls for Prometheus as well, where `oo serve --admin` asks for it: both have the same words, at
the same moments."""

from __future__ import annotations

import asyncio
from collections import Counter
from time import monotonic
from typing import TypeAlias

from .._core.masking import MASKED
from .._http.headers import Headers
from .audit_log import Audit
from .context import GatewayContext
from .metrics import Metrics

_INTERVAL = 0.25  # seconds after which it is told what is under way
_SOON = 0.01  # seconds after which what has ended is counted: many at once cost a third of each by itself

_Ended: TypeAlias = "tuple[GatewayContext, str, int, int, float, float | None]"


class CountingAudit:
    """Counts each call when its line is written, and what is under way, four times a second. A look at the health has
    no line, and is no call."""

    def __init__(self, metrics: Metrics, audit: Audit | None = None) -> None:
        self._metrics = metrics
        self._audit = audit
        self._masked = MASKED.count
        self._open: set[GatewayContext] = set()
        self._told: set[int] = set()  # where it was told that calls are under way
        self._timer: asyncio.TimerHandle | None = None
        self._ended: list[_Ended] = []

    def forwarded_for(self, peer: str | None, headers: Headers) -> str | None:
        return None if self._audit is None else self._audit.forwarded_for(peer, headers)

    def begin(self, context: GatewayContext) -> None:
        if self._audit is not None:
            self._audit.begin(context)
        self._open.add(context)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_INTERVAL, self._tell)

    def end(
        self, context: GatewayContext, outcome: str, status: int, bytes_out: int, upstream_id: str | None = None
    ) -> bool:
        self._open.discard(context)
        if not self._ended:
            asyncio.get_running_loop().call_later(_SOON, self.flush)
        self._ended.append((context, outcome, status, bytes_out, monotonic() - context.started, context.head))
        return self._audit is None or self._audit.end(context, outcome, status, bytes_out, upstream_id)

    def cut(self, calls: int) -> None:
        if self._audit is not None:
            self._audit.cut(calls)

    def is_writable(self) -> bool:
        return self._audit is None or self._audit.is_writable()

    def flush(self) -> None:
        """Count what has ended by now."""
        ended, self._ended = self._ended, []
        for each in ended:
            self._metrics.ended(*each)
        if (masked := MASKED.count) != self._masked:
            self._metrics.count(masked - self._masked, "oo_masked")
            self._masked = masked

    def _tell(self) -> None:
        """Tell what is under way, by route and token."""
        now = Counter(self._metrics.under_way(context) for context in self._open)
        for at in self._told - now.keys():
            self._metrics.cells[at] = 0.0
        for at, count in now.items():
            self._metrics.cells[at] = count
        self._told = set(now)
        self._timer = asyncio.get_running_loop().call_later(_INTERVAL, self._tell) if now else None
