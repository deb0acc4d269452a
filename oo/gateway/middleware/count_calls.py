"""Counts calls for Prometheus, where `oo serve --admin` asks for it."""

from __future__ import annotations

import asyncio
import time

from ..._core.masking import MASKED
from ..._core.pipeline import CallNext
from ..._http.body import Outcome
from ..._http.request import Request
from ..._http.response import Response
from ..audit_log import Audit, AuditLog
from ..context import gateway_context
from ..metrics import Metrics

_WORDS = {"complete": "allowed", "failed": "broken off", "left": "left"}


class CountCalls:
    """Counts each call when its answer has ended, by the words of the audit. A look at the health is none."""

    def __init__(self, metrics: Metrics, audit: Audit | None = None) -> None:
        self._metrics = metrics
        self._audit = audit if isinstance(audit, AuditLog) else None
        self._masked = MASKED.count
        self._lost = 0 if self._audit is None else self._audit.lost

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        context, metrics = gateway_context(request), self._metrics
        if context.endpoint == "health":
            return await call_next(request)
        try:
            response = await call_next(request)
        except BaseException as error:
            left = isinstance(error, (asyncio.CancelledError, ConnectionError))
            metrics.ended(context, context.ended or ("left" if left else "failed"), 499 if left else 500, None, 0)
            raise
        head = time.monotonic() - context.started
        if response.stream is None:
            metrics.ended(context, context.outcome or "allowed", response.status, head, len(response.body))
            self._look()
            return response

        def ended(end: Outcome) -> None:
            word = context.ended or (context.outcome if end == "complete" else None) or _WORDS[end]
            metrics.ended(context, word, 499 if word == "left" else response.status, head, context.bytes_out)
            self._look()

        return response.on_end(ended)

    def _look(self) -> None:
        """Count what was noted elsewhere."""
        if (masked := MASKED.count) != self._masked:
            self._metrics.count(masked - self._masked, "oo_masked")
            self._masked = masked
        if self._audit is not None and (lost := self._audit.lost) != self._lost:
            self._metrics.count(lost - self._lost, "oo_audit_lost")
            self._lost = lost


class CountOpen:
    """Counts the calls under way, once it is known whose they are."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        context = gateway_context(request)
        if context.endpoint == "health":
            return await call_next(request)
        cells, (calls, under_way) = self._metrics.cells, self._metrics.of_token(context)
        cells[calls] += 1.0
        cells[under_way] += 1.0
        try:
            response = await call_next(request)
        except BaseException:
            cells[under_way] -= 1.0
            raise
        if response.stream is None:
            cells[under_way] -= 1.0
            return response

        def ended(_end: Outcome) -> None:
            cells[under_way] -= 1.0

        return response.on_end(ended)
