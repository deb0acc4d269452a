"""Writes a line for each call into the audit."""

from __future__ import annotations

import asyncio
import time

from ..._core.pipeline import CallNext
from ..._http.body import Outcome
from ..._http.request import Request
from ..._http.response import Response
from ..audit_log import Audit
from ..context import GatewayContext, gateway_context

_LEFT = 499  # the status of a call whose caller has left
_WORDS = {"complete": "allowed", "failed": "broken off", "left": "left"}


class WriteAudit:
    """Writes a line when the answer of a call has ended, whoever gave it. Stands outside of all: nothing is unseen. A
    look at the gateway's health has none."""

    def __init__(self, audit: Audit | None = None) -> None:
        self._audit = audit

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        audit, context = self._audit, gateway_context(request)
        if audit is None or context.endpoint == "health":
            return await call_next(request)
        try:
            response = await call_next(request)
        except BaseException as error:
            # A ConnectionError is the caller's; an upstream's is a DoubleOError.
            left = isinstance(error, (asyncio.CancelledError, ConnectionError))
            _write(audit, context, "left" if left else "failed", _LEFT if left else 500)
            raise

        def ended(end: Outcome) -> None:
            outcome = context.outcome if end == "complete" and context.outcome else _WORDS[end]
            _write(audit, context, outcome, _LEFT if end == "left" else response.status)

        return response.on_end(ended)


def _write(audit: Audit, context: GatewayContext, outcome: str, status: int) -> None:
    audit.write(
        request_id=context.id,
        token_id=context.token_id,
        operation=context.endpoint,
        target=context.target,
        outcome=outcome,
        status=status,
        upstream=context.upstream,
        ms=(time.monotonic() - context.started) * 1000,
    )
