"""SecretCache: the bounded store of answers, and the flights of calls that are fetching one.

A flight is one fetch under way. Whoever asks for the same key meanwhile waits for it. Storing an answer and ending
its flight are one step under the lock, so no caller can find neither; an invalidation takes the flight out of the
table, and a flight that is no longer there stores nothing.

The same thread can re-enter at any bytecode: a signal handler calls `invalidate`, or the garbage collector closes
an abandoned call, which completes its flight. So the lock is an RLock. A change inside another change swaps in an
empty store, and what the outer one writes to the old store is lost. The tables are changed by single operations of
a dict or a set, and copied before they are iterated.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from cachetools import Cache, TLRUCache

from .._core.fork import register
from .._core.io import Event

_TOUCH = 1.0  # seconds: a hit renews an entry's place in the order of eviction at most this often

# A plain read of cachetools' own dict: no lock, no reordering. What is older than its TTL is seen here, by `lookup`.
_stored: Callable[[Any, Any], Entry] = Cache.__getitem__
T = TypeVar("T")


class Entry:
    """One stored value."""

    __slots__ = ("keep", "stored", "touched", "ttl", "value")

    def __init__(self, value: Any, ttl: float, keep: float, now: float) -> None:
        self.value = value
        self.ttl = ttl
        self.keep = keep
        self.stored = self.touched = now


class Flight:
    """One fetch under way, or one that its caller would begin; `outcome` stays None where it was cancelled."""

    __slots__ = ("chain", "event", "key", "outcome", "scope")

    def __init__(self, scope: Hashable, key: Hashable, event: Event, chain: object = None) -> None:
        self.scope = scope
        self.key = key
        self.event = event
        self.chain = chain
        self.outcome: Any = None


class SecretCache:
    """A thread-safe store of at most `maxsize` values, each with its own time to live, the least recently used going
    first. Time is monotonic. Values are kept in this process's memory only."""

    _changing: bool
    _entries: TLRUCache[Any, Entry]

    def __init__(self, maxsize: int = 1024, *, timer: Callable[[], float] = time.monotonic) -> None:
        if maxsize < 1:
            raise ValueError(f"maxsize must be 1 or more, not {maxsize!r}")
        self.maxsize = maxsize
        self._timer = timer
        self._renew()
        register(self)

    def get(self, key: Hashable) -> Any:
        """The value of a key, or None."""
        return self.lookup(key, float("inf"))

    def set(self, key: Hashable, value: Any, ttl: float) -> None:
        """Store a value for `ttl` seconds."""
        with self._lock:
            self._change(lambda entries: self._set(entries, key, value, ttl, ttl))

    def invalidate(self, key: Hashable) -> None:
        """Forget a key; where it is a token, whatever any server answered to that token."""

        def forget(entries: TLRUCache[Any, Entry]) -> None:
            for entry in (key, *((*family, key) for family in list(self._key_prefixes))):
                entries.pop(entry, None)

        with self._lock:
            # Before the change: a flight that completes during it, in another store, must not be in the table any
            # more.
            for flight_key in list(self._flights):
                if key in (flight_key[1], _token(flight_key[1])):
                    self._flights.pop(flight_key, None)
            self._change(forget)

    def clear(self) -> None:
        """Forget everything."""

        def forget(_entries: object) -> None:
            self._flights.clear()
            self._key_prefixes.clear()
            self._entries = self._emptied()

        with self._lock:
            self._change(forget)

    def __len__(self) -> int:
        with self._lock:
            return self._change(len)  # and what has expired is dropped

    def __repr__(self) -> str:
        return f"<SecretCache {len(self)} of {self.maxsize}>"

    def lookup(self, key: Hashable, max_age: float) -> Any:
        """The value of a key if it is younger than its own time to live and than `max_age` seconds, or None."""
        try:
            entry = _stored(self._entries, key)
        except KeyError:
            return None
        now = self._timer()
        age = now - entry.stored
        if age >= entry.ttl or not age < max_age:
            return None
        if now - entry.touched > _TOUCH:
            self._touch(key, entry, now)
        return entry.value

    def stale(self, key: Hashable) -> Any:
        """The value of a key, expired or not, while it is kept for an outage; or None."""
        with self._lock:
            entry = self._found(key)
            return None if entry is None else entry.value

    def join(self, flight: Flight, max_age: float) -> Any:
        """The stored value; else the flight that fetches it, which is `flight` itself where there was none."""
        with self._lock:
            value = self._lookup_locked(flight.key, max_age)
            if value is not None:
                return value
            return self._flights.setdefault((flight.scope, flight.key), flight)

    def complete(self, flight: Flight, outcome: Any, ttl: float | None = None, stale: float = 0.0) -> None:
        """End a flight: store its outcome where `ttl` is given and nothing was invalidated since, and let the
        waiters go. A flight whose completion was interrupted is completed again; its first outcome stays."""

        def end(entries: TLRUCache[Any, Entry]) -> None:
            flight_key = flight.scope, flight.key
            if self._flights.get(flight_key) is flight:
                self._flights.pop(flight_key, None)
                if ttl is not None:
                    self._set(entries, flight.key, outcome, ttl, ttl + stale)
            if flight.outcome is None:
                flight.outcome = outcome

        with self._lock:
            self._change(end)
        flight.event.set()

    def _lookup_locked(self, key: Hashable, max_age: float) -> Any:
        entry = self._found(key)
        if entry is None:
            return None
        age = self._timer() - entry.stored
        return entry.value if age < entry.ttl and age < max_age else None

    def _found(self, key: Hashable) -> Entry | None:
        if self._changing:  # and this thread inside that: finding renews a place in the order
            return None
        # Not its `get`, which an interrupt can leave with a clock that stands still.
        try:
            return self._entries[key]
        except KeyError:
            return None

    def _set(self, entries: TLRUCache[Any, Entry], key: Hashable, value: Any, ttl: float, keep: float) -> None:
        if _token(key) is not None:
            self._key_prefixes.add(key[:2])  # type: ignore[index]  # _token saw a tuple
        entries[key] = Entry(value, ttl, keep, self._timer())

    def _change(self, change: Callable[[TLRUCache[Any, Entry]], T]) -> T:
        # Under the lock.
        if self._changing:
            self._entries = self._emptied()
        # In this order: a change that re-enters between the two lines ends before this one begins.
        entries = self._entries
        self._changing = True
        try:
            return change(entries)
        except BaseException:
            # An interrupt, such as Ctrl-C: the parts of cachetools' store may be inconsistent.
            self._entries = self._emptied()
            raise
        finally:
            self._changing = False

    def _touch(self, key: Hashable, entry: Entry, now: float) -> None:
        with self._lock:
            entry.touched = now
            self._found(key)

    def _emptied(self) -> TLRUCache[Any, Entry]:
        return TLRUCache(self.maxsize, _expiry, timer=self._timer)

    def _renew(self) -> None:
        self._lock = threading.RLock()
        self._changing = False
        self._entries = self._emptied()
        self._flights: dict[tuple[Hashable, Hashable], Flight] = {}
        self._key_prefixes: set[Any] = set()

    def after_fork(self) -> None:
        """In a forked child: replace the lock, and empty a store that was half changed."""
        if self._changing:
            self._renew()
        else:
            self._lock = threading.RLock()


def _expiry(_key: object, entry: Entry, now: float) -> float:
    return now + entry.keep


def _token(key: Hashable) -> Any:
    return key[2] if isinstance(key, tuple) and len(key) == 3 else None
