"""Writes a line for each call into the audit when it has ended."""

from __future__ import annotations

import time

from ..._core.pipeline import CallNext
from ..._http.body import Outcome
from ..._http.request import Request
from ..._http.response import Response
from ..audit_log import Audit
from ..context import gateway_context
from ..errors import CALLER_LEFT, AuditFailed, unanswered_status
from .error_responses import error_response

_WORDS = {"complete": "allowed", "failed": "broken off"}


class WriteAudit:
    """Writes a line when the answer of a call has ended, whoever gave it. Stands outside of all: nothing is unseen. A
    look at the gateway's health has none. Where the audit is required, an answer without any line is not given (503).
    """

    def __init__(self, audit: Audit | None = None) -> None:
        self._audit = audit
        self._left = "left"

    def cut(self, calls: int) -> None:
        """Write that so many calls are cut, and that each call which is left from here on was."""
        self._left = "cut"
        if self._audit is not None and calls:
            self._audit.cut(calls)

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        audit, context = self._audit, gateway_context(request)
        if audit is None or context.endpoint == "health":
            return await call_next(request)
        context.method, context.path = request.method, request.url.partition("?")[0]
        context.forwarded_for = audit.forwarded_for(context.peer, request.headers)
        try:
            response = await call_next(request)
        except BaseException as error:  # a call whose caller has left, and is cancelled, has its line too
            status = unanswered_status(error)
            outcome = context.ended or (self._left if status == CALLER_LEFT else "failed")
            audit.end(context, outcome, status, context.bytes_out)
            raise
        ids = [] if context.route is None else response.headers.get_all("X-Request-Id")
        upstream_id = ", ".join(ids) if ids else None
        if response.stream is None:
            outcome, size = context.outcome or "allowed", len(response.body)
            if audit.end(context, outcome, response.status, size, upstream_id):
                return response
            return error_response(request, AuditFailed())

        context.head = time.monotonic() - context.started

        def ended(end: Outcome) -> None:
            word = self._left if end == "left" else _WORDS[end]
            outcome = context.ended or (context.outcome if end == "complete" else None) or word
            status = CALLER_LEFT if outcome == "left" else response.status
            audit.end(context, outcome, status, context.bytes_out, upstream_id)

        return response.on_end(ended)
