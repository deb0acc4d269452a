"""The retry budget: a token bucket, as in the standard mode of the AWS clients."""

from __future__ import annotations

import threading

from .._core.fork import keep

CAPACITY = 500
COST = 5
REFUND = 1


class Budget:
    """What a client may spend on retries: full at 500, each retry costs 5 and gets them back when its call succeeds,
    each call that succeeds at once gives 1. In a total outage a client so sends 100 retries, then none."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = self._left = capacity
        self._lock = threading.Lock()
        keep(self)

    def spend(self) -> bool:
        """Pay for a retry; False where there is not enough left."""
        with self._lock:
            if self._left < COST:
                return False
            self._left -= COST
            return True

    def refund(self, retries: int) -> None:
        """A call succeeded after that many retries."""
        if not retries and self._left >= self._capacity:
            return
        with self._lock:
            self._left = min(self._capacity, self._left + (retries * COST or REFUND))

    def after_fork(self) -> None:
        """In a child: let go of the lock."""
        if self._lock.locked():
            self._lock = threading.Lock()
