"""Which of a route's upstreams is asked next. Pure: the time is given."""

from __future__ import annotations

from collections.abc import Sequence

FAILURES = 5
"""Failures in a row after which an upstream rests."""
REST = 10.0
"""Seconds that it rests."""


class UpstreamChoice:
    """Chooses between upstreams by their weights, smoothly: of weights 2 and 1 the order is a, b, a. One that rests is
    asked after all others, and so where all of them rest or fail. Upstreams are known by their number."""

    def __init__(self, weights: Sequence[int]) -> None:
        self._upstreams = [_Upstream(weight) for weight in weights]

    def order(self, now: float) -> list[int]:
        """Whom to ask first, and who comes next where that one fails."""
        numbers = range(len(self._upstreams))
        awake = [number for number in numbers if self._upstreams[number].rests_until <= now]
        resting = [number for number in numbers if number not in awake]
        if awake:
            first = self._first(awake)
            awake.remove(first)
            awake.sort(key=lambda number: -self._upstreams[number].weight)
            awake.insert(0, first)
        return awake + sorted(resting, key=lambda number: self._upstreams[number].rests_until)

    def _first(self, awake: Sequence[int]) -> int:
        # Each gains its weight, and whoever has most pays for all: nginx's smooth weighted round-robin.
        for number in awake:
            self._upstreams[number].credit += self._upstreams[number].weight
        first = max(awake, key=lambda number: self._upstreams[number].credit)
        self._upstreams[first].credit -= sum(self._upstreams[number].weight for number in awake)
        return first

    def succeeded(self, number: int) -> bool:
        """It answered. Returns whether it was to rest until then, or has rested."""
        upstream = self._upstreams[number]
        rested = upstream.rests_until > 0
        upstream.failures, upstream.rests_until = 0, 0.0
        return rested

    def failed(self, number: int, now: float) -> bool:
        """It gave no answer, or a 5xx. After a rest, one failure more is enough for the next. Returns whether it rests
        from here on."""
        upstream = self._upstreams[number]
        upstream.failures += 1
        if upstream.failures < FAILURES:
            return False
        upstream.rests_until = now + REST
        return True


class _Upstream:
    __slots__ = ("credit", "failures", "rests_until", "weight")

    def __init__(self, weight: int) -> None:
        self.weight = weight
        self.credit = self.failures = 0
        self.rests_until = 0.0
