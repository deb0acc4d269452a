"""Retry: waits by backoff's schedule, and never past a deadline, a budget or the server's own word."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Container, Iterator
from copy import copy

from backoff import expo, full_jitter

from .._core.errors import overdue
from .._core.fork import register
from .._core.pipeline import CallNext
from .._core.validation import LONGEST, check_whole, is_number
from .._http.body import is_sendable
from .._http.request import Request
from .._http.response import Response
from ..exceptions import DoubleOError

LONGEST_RETRY_AFTER = 60.0
_IDEMPOTENT = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"})  # RFC 9110, 9.2.2


BUDGET_CAPACITY = 500
RETRY_COST = 5
SUCCESS_REFUND = 1


class Retry:
    """Tries again, up to `retries` times, while the error says that it may help.

    Waits `backoff_factor` seconds, then twice, four times that and so on, at most `max_wait`, plus up to `jitter` of
    the wait. That is the least wait: a `Retry-After` of up to 60 s makes it longer, never shorter, and a longer
    one ends the call. A `retry-after-ms` is waited for exactly. `statuses` replaces the set of statuses that are tried
    again: 408, 425, 429 and every 5xx but 501 and 505. A call that is not idempotent carries one `Idempotency-Key`.
    """

    def __init__(
        self,
        retries: int = 0,
        backoff_factor: float = 0.5,
        max_wait: float = 30.0,
        jitter: float = 0.25,
        statuses: Container[int] | None = None,
    ) -> None:
        check_whole("retries", retries, 0)
        for name, value in (("backoff_factor", backoff_factor), ("max_wait", max_wait), ("jitter", jitter)):
            if not is_number(value) or not 0 <= value <= LONGEST:
                raise ValueError(f"{name} must be a number from 0 to {LONGEST:,}")
        self.retries = retries
        self.backoff_factor = backoff_factor
        self.max_wait = max_wait
        self.jitter = jitter
        self.statuses = statuses
        self.budget = RetryBudget()

    def with_retries(self, retries: int) -> Retry:
        """This one with another number of retries, out of the same budget."""
        check_whole("retries", retries, 0)
        other = copy(self)
        other.retries = retries
        return other

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        io, context = call_next.io, request.context
        began = context.started or io.now()
        timeline = context.timeline
        if self.retries and request.method not in _IDEMPOTENT and "Idempotency-Key" not in request.headers:
            request = request.with_header("Idempotency-Key", uuid.uuid4().hex)
        waits: Iterator[float] | None = None
        attempt = 0
        while True:
            now = io.now() if attempt else began
            if request.deadline is not None and now >= request.deadline:
                raise overdue(request)
            attempt += 1
            context.attempts = attempt
            timeline.append(("attempt", now - began))
            try:
                response = await call_next(request)
            except DoubleOError as error:
                error.attempts = attempt
                timeline.append((error.status or error.reason, io.now() - began))
                waits = waits or self._schedule()
                wait = self._wait(error, waits)
                if attempt > self.retries or wait is None or not self._in_time(request, io.now() + wait):
                    raise
                if not is_sendable(request.body):
                    raise  # what has gone cannot be sent again
                if not self.budget.spend():
                    raise
            else:
                timeline.append((response.status, io.now() - began))
                self.budget.refund(attempt - 1)
                return response
            # Outside the except, so that this failure is not the context of a later one.
            await io.sleep(wait)

    def _schedule(self) -> Iterator[float]:
        waits = expo(base=2, factor=self.backoff_factor, max_value=self.max_wait)
        next(waits)  # backoff's generators yield once before their first wait
        return waits

    def _wait(self, error: DoubleOError, waits: Iterator[float]) -> float | None:
        """Seconds to wait before the next attempt; None for no further attempt."""
        retryable = error.retryable
        if self.statuses is not None and error.reason == "status":
            retryable = error.status in self.statuses
        if not retryable:
            return None
        asked = error.retry_after or 0
        if asked > LONGEST_RETRY_AFTER:
            return None
        wait = next(waits)
        return asked if error.retry_exactly else max(asked, wait + full_jitter(wait * self.jitter))

    @staticmethod
    def _in_time(request: Request, at: float) -> bool:
        return request.deadline is None or at < request.deadline


class RetryBudget:
    """Limits a client's retries. It begins with 500 points. A retry costs 5, which come back when its call
    succeeds; a call that succeeds at once adds 1. In a total outage a client sends 100 retries, then none."""

    def __init__(self, capacity: int = BUDGET_CAPACITY) -> None:
        self._capacity = self._left = capacity
        self._lock = threading.Lock()
        register(self)

    def spend(self) -> bool:
        """Pay for a retry. False if too few points are left."""
        with self._lock:
            if self._left < RETRY_COST:
                return False
            self._left -= RETRY_COST
            return True

    def refund(self, retries: int) -> None:
        """A call succeeded after that many retries."""
        if not retries and self._left >= self._capacity:
            return
        with self._lock:
            self._left = min(self._capacity, self._left + (retries * RETRY_COST or SUCCESS_REFUND))

    def after_fork(self) -> None:
        """In a forked child: replace a held lock."""
        if self._lock.locked():
            self._lock = threading.Lock()
