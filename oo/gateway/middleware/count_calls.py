"""Counts calls for Prometheus, where `oo serve --admin` asks for it."""

from __future__ import annotations

import asyncio
from collections import Counter
from time import monotonic

from ..._core.masking import MASKED
from ..._core.pipeline import CallNext
from ..._http.body import Outcome
from ..._http.request import Request
from ..._http.response import Response
from ..context import GatewayContext, gateway_context
from ..metrics import Metrics

_WORDS = {"complete": "allowed", "failed": "broken off", "left": "left"}
_INTERVAL = 0.25  # seconds after which it is told what is under way


class CountCalls:
    """Counts each call when its answer has ended, by the words of the audit; and what is under way, four times a
    second. A look at the health is none."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._masked = MASKED.count
        self._open: set[GatewayContext] = set()
        self._told: set[int] = set()  # where it was told that calls are under way
        self._timer: asyncio.TimerHandle | None = None

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        context, metrics = gateway_context(request), self._metrics
        if context.endpoint == "health":
            return await call_next(request)
        self._open.add(context)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_INTERVAL, self._tell)
        try:
            response = await call_next(request)
        except BaseException as error:
            left = isinstance(error, (asyncio.CancelledError, ConnectionError))
            self._open.discard(context)
            metrics.ended(context, context.ended or ("left" if left else "failed"), 499 if left else 500, 0)
            raise
        if response.stream is None:
            self._open.discard(context)
            metrics.ended(context, context.outcome or "allowed", response.status, len(response.body))
            if MASKED.count != self._masked:
                self._count_masked()
            return response
        return self._streamed(context, response, monotonic() - context.started)

    def _streamed(self, context: GatewayContext, response: Response, head: float) -> Response:
        def ended(end: Outcome) -> None:
            word = context.ended or (context.outcome if end == "complete" else None) or _WORDS[end]
            self._open.discard(context)
            self._metrics.ended(context, word, 499 if word == "left" else response.status, context.bytes_out, head)
            self._count_masked()

        return response.on_end(ended)

    def _count_masked(self) -> None:
        masked = MASKED.count
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
