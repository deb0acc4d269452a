"""An audit that counts calls for Prometheus as well, where `oo serve --admin` asks for it: both have the same words, at
the same moments."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from .audit_log import Audit
from .context import GatewayContext

if TYPE_CHECKING:
    from .metrics import Metrics


class CountingAudit:
    """Counts each call when its line is written. A look at the health has no line, and is no call."""

    def __init__(self, metrics: Metrics, audit: Audit | None = None) -> None:
        audit = _Unwritten() if audit is None else audit
        self._count, self._write = metrics.ended, audit.end
        # What is handed on as it is costs a call nothing.
        self.forwarded_for, self.begin = audit.forwarded_for, audit.begin
        self.cut, self.is_writable = audit.cut, audit.is_writable

    def end(
        self, context: GatewayContext, outcome: str, status: int, bytes_out: int, upstream_id: str | None = None
    ) -> bool:
        self._count(context, outcome, status, bytes_out, monotonic() - context.started)
        return self._write(context, outcome, status, bytes_out, upstream_id)


class _Unwritten:
    """The audit of a gateway that has none."""

    def forwarded_for(self, *_: object) -> str | None:
        return None

    def begin(self, *_: object) -> None:
        pass

    def end(self, *_: object, **__: object) -> bool:
        return True

    def cut(self, *_: object) -> None:
        pass

    def is_writable(self) -> bool:
        return True
