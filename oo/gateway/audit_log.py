"""The audit: a JSON line when a call begins and one when it ends, never a token or a value.

A flood of refused callers must not fill the disk: beyond `REFUSALS` refusals in a second, the rest share lines with a
`count`.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from .._http.headers import Headers
from .audit_lines import begin_line, cut_line, end_line, lost_line, refusal, shared_line
from .audit_sinks import Sink, open_sink
from .context import GatewayContext
from .errors import AuditFailed, StoreError
from .paths import begin_file, make_home, may_be_made
from .throttled_log import ThrottledLog
from .trusted_proxies import TrustedProxies

AUDIT_FILE = "audit.jsonl"
REFUSALS = 100
"""Refusals in a second for which a process writes a line each."""


@dataclass(frozen=True)
class AuditSettings:
    """How a gateway keeps its audit.

    `target` is a file, "-" for standard output, or None for `audit.jsonl` in the data directory. With `required`, a
    call whose line cannot be written is refused. `proxies` are the addresses and networks whose X-Forwarded-For is
    believed.
    """

    target: str | None = None
    required: bool = False
    proxies: tuple[str, ...] = ()

    def check(self, home: Path) -> None:
        """StoreError where the audit could not be written. Nothing is made in the data directory."""
        if self.target is not None:
            self.open(home).close()
        elif not may_be_made(home / AUDIT_FILE):
            raise StoreError(f"the audit {home / AUDIT_FILE} cannot be written: --audit or OO_HOME names another place")

    def begin(self, home: Path) -> None:
        """Have the audit's file be there, and the data directory where it is in that; StoreError where it cannot be.
        What root makes in somebody's data directory is theirs."""
        if self.target is None:
            make_home(home)
            begin_file(home, AUDIT_FILE)
        self.open(home).close()

    def open(self, home: Path) -> AuditLog:
        """The audit of a gateway over a data directory; StoreError if it can't be written or a proxy is no address."""
        where = home / AUDIT_FILE if self.target is None else self.target
        try:
            return AuditLog(open_sink(where), required=self.required, proxies=TrustedProxies(self.proxies))
        except OSError as error:
            raise StoreError(f"the audit {where} cannot be written: {error.strerror}") from None


class Audit(Protocol):
    """Where calls are written down."""

    def forwarded_for(self, peer: str | None, headers: Headers) -> str | None:
        """The caller's address that a trusted proxy tells in its X-Forwarded-For headers, or None."""

    def begin(self, context: GatewayContext) -> None:
        """Write that a call begins; AuditFailed if that can't be done and must be."""

    def end(
        self, context: GatewayContext, outcome: str, status: int, bytes_out: int, upstream_id: str | None = None
    ) -> bool:
        """Write how a call ended. On failure, log that a line was lost; never raise, since the call has happened.
        Returns whether its answer may be given: False where it has no line at all, and must have one."""

    def cut(self, calls: int) -> None:
        """Write that the gateway ends, and cuts so many calls."""

    def is_writable(self) -> bool:
        """Whether a line could be written now."""


class AuditLog:
    """An audit in lines of JSON."""

    def __init__(self, sink: Sink, *, required: bool = False, proxies: TrustedProxies | None = None) -> None:
        self._sink = sink
        self._required = required
        self._proxies = proxies
        self._second = 0
        self._refused: Counter[bool] = Counter()  # of those whose token is known, and of the others
        self._counted: Counter[str] = Counter()
        self._lost = 0
        self.told: Callable[[], None] | None = None
        """Called for each line that could not be written."""
        self._errors = ThrottledLog()

    def forwarded_for(self, peer: str | None, headers: Headers) -> str | None:
        return self._proxies.caller(peer, headers.get_all("X-Forwarded-For")) if self._proxies else None

    def begin(self, context: GatewayContext) -> None:
        if not self._write(begin_line(context)) and self._required:
            context.audited = ""
            raise AuditFailed

    def end(
        self, context: GatewayContext, outcome: str, status: int, bytes_out: int, upstream_id: str | None = None
    ) -> bool:
        """Append a line, or count a refusal that gets none of its own, for which an event loop must be running."""
        # What opened something has a line each; a preflight opens nothing.
        opened_nothing = not context.audited and (context.target is None or status >= 400)
        if opened_nothing and self._is_flood(context.token_id is not None):
            if not self._counted:
                asyncio.get_running_loop().call_later(1, self._sum_up)
            self._counted[refusal(context, outcome, status)] += 1
            return True
        has_begun = bool(context.audited)
        return (
            self._write(end_line(context, outcome, status, bytes_out, upstream_id)) or has_begun or not self._required
        )

    def cut(self, calls: int) -> None:
        self._write(cut_line(calls))

    def is_writable(self) -> bool:
        """Whether a line could be written now. What was lost by then is written down."""
        try:
            if self._lost:
                self._tell_lost()
            self._sink.check()
        except OSError:
            return False
        return True

    def reopen(self) -> None:
        """Open the file anew, which was renamed perhaps."""
        try:
            self._sink.reopen()
        except OSError as error:
            self._errors.say(f"the audit cannot be opened anew: {error.strerror}")

    def close(self) -> None:
        """Close the file."""
        self._sum_up()
        self._sink.close()

    def _is_flood(self, is_known: bool) -> bool:
        """Whether there were enough lines in this second: strangers take none from those whose token is known."""
        second = int(time.monotonic())
        if second != self._second:
            self._second = second
            self._refused.clear()
        self._refused[is_known] += 1
        return self._refused[is_known] > REFUSALS

    def _sum_up(self) -> None:
        for refused, count in self._counted.items():
            self._write(shared_line(refused, count))
        self._counted.clear()

    def _write(self, line: str) -> bool:
        try:
            if self._lost:
                self._tell_lost()
            self._sink.write(line.encode())
        except OSError as error:
            self._lost += 1
            if self.told is not None:
                self.told()
            self._errors.say(f"decisions are missing in the audit: {error.strerror}", f" ({self._lost} so far)")
            return False
        return True

    def _tell_lost(self) -> None:
        self._sink.write(lost_line(self._lost).encode())
        self._lost = 0
