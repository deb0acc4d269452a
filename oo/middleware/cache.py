"""Cache: one request for a key at a time, however many ask, and none while its answer is fresh."""

from __future__ import annotations

import copy
from typing import Literal

from .._core.errors import overdue
from .._core.pipeline import CacheKey, CallNext, Lookup
from .._http.request import Request
from .._http.response import Response
from ..exceptions import DoubleOError
from .secret_cache import Flight, SecretCache

_EVICTING = frozenset({401, 403, 404})
_OUTAGES = frozenset({"connection", "timeout", "deadline"})


class Cache:
    """Answers a call that gave a `cache_ttl` from its store, while the answer is younger than that and than the TTL
    it was stored with.

    `store` defaults to one of its own, of `maxsize` entries. With `stale_if_error` (seconds), an expired answer
    still serves that long where the network or the server fails, with `context.cache` "stale".
    """

    def __init__(self, store: SecretCache | None = None, *, maxsize: int = 1024, stale_if_error: float = 0.0) -> None:
        if not stale_if_error >= 0:
            raise ValueError(f"stale_if_error must be 0 or more, not {stale_if_error!r}")
        self.store = SecretCache(maxsize) if store is None else store
        self.stale_if_error = stale_if_error
        self.lookup: Lookup = self.store.lookup
        """A stored answer younger than `cache_ttl`, or None."""

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        ttl = request.context.cache_ttl
        if not ttl:
            try:
                return await call_next(request)
            except DoubleOError as error:
                self._evict(error, request)
                raise
        io, key = call_next.io, _key(request)
        while True:
            flight = Flight(io.scope(), key, io.event(), call_next)
            try:
                joined = self.store.join(flight, ttl)
                if joined is flight:
                    return await self._lead(flight, request, call_next, ttl)
            except BaseException:
                # Cancelled, or interrupted at any line: the first waiter to wake makes the call instead.
                self.store.complete(flight, None)
                raise
            if isinstance(joined, Response):
                return _hit(joined, request)
            left = None if request.deadline is None else request.deadline - io.now()
            if not await joined.event.wait(left):
                raise overdue(request)
            if isinstance(joined.outcome, Response):
                return _hit(joined.outcome, request)
            if isinstance(joined.outcome, Exception) and (joined.chain is call_next or _is_shared(joined.outcome)):
                raise _own(joined.outcome)

    async def _lead(self, flight: Flight, request: Request, call_next: CallNext, ttl: float) -> Response:
        try:
            response = await call_next(request)
            response.parse()
        except Exception as error:
            if isinstance(error, DoubleOError):
                self._evict(error, request)
                stale = self.store.stale(flight.key) if self.stale_if_error and _is_outage(error) else None
                if stale is not None:
                    self.store.complete(flight, stale)
                    return _hit(stale, request, "stale")
            self.store.complete(flight, error)
            raise
        self.store.complete(flight, response, ttl, self.stale_if_error)
        return response

    def _evict(self, error: DoubleOError, request: Request) -> None:
        if error.status in _EVICTING:
            self.store.invalidate(_key(request))


def _key(request: Request) -> CacheKey:
    return (request.operation, request.base_url, request.context.token)


def _hit(stored: Response, request: Request, how: Literal["hit", "stale"] = "hit") -> Response:
    """The stored answer as this call's own."""
    request.context.cache = how
    return stored.replace(request=request)


def _is_outage(error: DoubleOError) -> bool:
    return error.reason in _OUTAGES or (error.status or 0) >= 500


def _is_shared(error: Exception) -> bool:
    # That one client was closed, or its deadline passed, says nothing of another over the same store.
    return not isinstance(error, DoubleOError) or error.reason not in ("closed", "deadline")


def _own(error: Exception) -> Exception:
    # Many threads that raise one exception object would share, and grow, one traceback.
    return copy.copy(error) if isinstance(error, DoubleOError) else error
