"""How much work a process holds at once: calls, and the bytes that it keeps of their bodies. Pure counting.

One token never holds more than three quarters of either, so that there is always room for another.
"""

from __future__ import annotations

from collections.abc import Callable

from .errors import GatewayError
from .models import Route

MAX_BYTES = 256 << 20
"""Bytes of bodies and answers that a process keeps at once, in memory and in temporary files."""
RETRY_AFTER = 1
"""Seconds after which a caller may try again."""


class Busy(GatewayError):
    """There is no room: 429 where the token itself fills its share, 503 where the process is full."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(status, message, "too busy", {"Retry-After": str(RETRY_AFTER)})


class _Holding:
    """What one token holds."""

    __slots__ = ("calls", "route", "size")

    def __init__(self, route: Route | None) -> None:
        self.calls = self.size = 0
        self.route = route


class Capacity:
    """What a process can hold, and what it holds."""

    def __init__(self, calls: int, size: int = MAX_BYTES) -> None:
        """`calls` at once, and `size` bytes of what they keep."""
        self.max_calls = calls
        self.max_size = size
        self._share, self._share_of_size = _share(calls), _share(size)
        self.calls = self.size = 0
        self._tokens: dict[str, _Holding] = {}

    def take(self, token_id: str, concurrency: int | None = None, route: Route | None = None) -> Place:
        """A place for one call of a token, which may have no more than `concurrency` at once; Busy if there is none.
        `route` is what it opens, if it opens one."""
        held = self._tokens.get(token_id)
        most = self._share if concurrency is None else min(concurrency, self._share)
        if held is not None and held.calls >= most:
            raise Busy(429, f"this token has {most} calls under way, which is its limit")
        if self.calls >= self.max_calls:
            raise Busy(503, "the gateway has as many calls under way as it can hold")
        if held is None:
            held = self._tokens[token_id] = _Holding(route)
        held.calls += 1
        self.calls += 1
        return Place(self, token_id)

    def under_way(self) -> list[tuple[str, str, int]]:
        """The route's name, "" where it is none, the token's id, and the calls of each token that has any."""
        held = self._tokens.items()
        return [("" if each.route is None else each.route.name, token_id, each.calls) for token_id, each in held]

    def keep(self, token_id: str, own: int, more: int) -> None:
        """Count `more` bytes that a call keeps beside its `own`. Busy if there is no room; 413 if there never will
        be."""
        self.check(own + more)
        if self._tokens[token_id].size + more > self._share_of_size:
            raise Busy(429, "this token has as many bytes of bodies under way as it may have")
        if self.size + more > self.max_size:
            raise Busy(503, "the gateway has as many bytes of bodies under way as it can hold")
        self._tokens[token_id].size += more
        self.size += more

    def check(self, size: int) -> None:
        """GatewayError (413) for a body that is larger than any that can be kept."""
        if size > self._share_of_size:
            raise GatewayError(413, f"a body that has to be kept may have {self._share_of_size} bytes", "too large")

    def give_back(self, token_id: str, size: int) -> None:
        """Count so many bytes of a token less."""
        self._tokens[token_id].size -= size
        self.size -= size

    def leave(self, token_id: str) -> None:
        """End one call of a token."""
        held = self._tokens[token_id]
        held.calls -= 1
        self.calls -= 1
        if not held.calls:
            del self._tokens[token_id]


class Place:
    """The place of one call. It is held from the beginning, and free when whoever holds it has released it."""

    __slots__ = ("_capacity", "_holders", "_on_free", "_token_id", "size")

    def __init__(self, capacity: Capacity, token_id: str) -> None:
        self.size = 0
        """Bytes that the call keeps."""
        self._capacity = capacity
        self._token_id = token_id
        self._holders = 1
        self._on_free: list[Callable[[], object]] = []

    def keep(self, size: int) -> None:
        """Count so many bytes more, until the place is free. Busy if there is no room, 413 if there never will be."""
        self._capacity.keep(self._token_id, self.size, size)
        self.size += size

    def give_back(self, size: int) -> None:
        """Count so many bytes less."""
        self._capacity.give_back(self._token_id, size)
        self.size -= size

    def check(self, size: int) -> None:
        """GatewayError (413) for so many bytes more where there never will be room for them."""
        self._capacity.check(self.size + size)

    def hold(self) -> None:
        """Hold it once more: other work of the call goes on."""
        self._holders += 1

    def release(self, *_: object) -> None:
        """Hold it once less. Any arguments are ignored, so that this can be called back."""
        self._holders -= 1
        if self._holders:
            return
        callbacks, self._on_free = self._on_free, []
        for callback in callbacks:
            callback()
        if self.size:
            self.give_back(self.size)
        self._capacity.leave(self._token_id)

    def on_free(self, callback: Callable[[], object]) -> None:
        """Call back when the call's work has ended. It must not raise."""
        self._on_free.append(callback)


def _share(whole: int) -> int:
    return max(1, whole * 3 // 4)
