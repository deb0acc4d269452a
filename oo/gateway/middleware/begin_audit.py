"""Writes into the audit that a call begins."""

from __future__ import annotations

from ..._core.pipeline import CallNext
from ..._http.request import Request
from ..._http.response import Response
from ..audit_log import Audit
from ..context import gateway_context


class BeginAudit:
    """Writes a line before a secret or a kept result is read, or anything is sent. It is there even if the process is
    killed.

    AuditFailed where the audit is required and the line cannot be written. A call that was refused by now has the line
    of its end alone; a look at the gateway's health has none.
    """

    def __init__(self, audit: Audit | None = None) -> None:
        self._audit = audit

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        context = gateway_context(request)
        if self._audit is not None and context.endpoint != "health":
            self._audit.begin(context)
        return await call_next(request)
