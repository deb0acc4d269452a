"""How long the sending of a body that flows may take: the limit is for whoever takes it, not for whoever gives it."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from io import BytesIO
from typing import Any, TypeAlias, TypeVar

if sys.version_info >= (3, 11):
    from asyncio import timeout
else:
    from async_timeout import timeout

from .._http.body import Body
from .._http.request import Request, limits
from .reader import outgoing

T = TypeVar("T")
_NEVER = float("inf")
_LARGE = 1 << 16  # bytes

Data: TypeAlias = bytes | BytesIO | AsyncIterator[bytes] | None
"""What aiohttp takes as a request's body."""


def whole_data(body: bytes | Body | None) -> Data:
    """A request's body whose sending is timed together with its answer."""
    if isinstance(body, Body):
        return outgoing(body)
    # aiohttp warns of a large body in one piece, which would hold up the loop.
    return body if body is None or len(body) <= _LARGE else BytesIO(body)


async def uploaded(
    request: Request, body: Body, left: float, begin: Callable[[AsyncIterator[bytes]], Awaitable[T]]
) -> T:
    """What `begin` returns, once it has an answer to the pieces of the request's `body` that it is given.

    TimeoutError where the connection is not made in `left` seconds, a piece is not taken within the request's timeout,
    or no answer comes within it after the last.
    """
    loop, caller = asyncio.get_running_loop(), asyncio.current_task()
    timer: Any = None  # asyncio's, or async_timeout's before Python 3.11

    def move(until: float) -> None:
        if timer is None:  # the answer is here, and is timed by whoever reads it
            return
        at = until - time.monotonic() + loop.time()
        if sys.version_info >= (3, 11):
            timer.reschedule(at)
        else:
            timer.update(at)
            timer._task = caller  # async_timeout cancels whoever moved it last, which is aiohttp's task that writes

    async def pieces() -> AsyncIterator[bytes]:
        whole = _NEVER if request.deadline is None else request.deadline
        move(whole)
        async for piece in outgoing(body):
            move(limits(request, time.monotonic())[0])
            yield piece
            move(whole)
        move(limits(request, time.monotonic())[0])

    async with timeout(left) as entered:
        timer = entered
        try:
            return await begin(pieces())
        finally:
            timer = None
