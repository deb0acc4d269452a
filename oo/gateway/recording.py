"""Records a streamed response while its caller reads it, and reads on when the caller has left."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import aclosing

from .._http.body import Body, remaining_of
from .._http.response import ByteStream, Response
from .claims import Claim
from .errors import GatewayError
from .kept import MAX_KEPT
from .models import StoredResponse
from .spool import Spool, SpooledBody


class Recording:
    """A response that is read by `run`, on a task of its own, and handed on piece by piece through `response`.

    What may be kept is written to `spool`. The claim ends before the reader sees the end: completed if the response was
    read whole, with that if it is not too large and there is room for it.
    What may be kept is read on for `seconds` after the caller has left.
    """

    def __init__(self, response: Response, stream: ByteStream, claim: Claim, seconds: float, spool: Spool) -> None:
        self._source = response
        self._stream = stream
        self._claim = claim
        self._seconds = seconds
        self._pieces: asyncio.Queue[tuple[bytes, int | None] | Exception | None] = asyncio.Queue(1)
        self._spool = spool
        self._is_kept = True  # until it is too large, or there is no room for it
        self._left_at: float | None = None
        self._body = Body.wrapping(stream, self._taken(), abort=self._leave)
        # A response of its own: to abort it is to leave, not to end the reading.
        self.response = Response(response.status, response.headers, request=response.request, stream=self._body)

    async def run(self) -> None:
        """Read the response to its end, and end the claim."""
        error, kept, whole = None, None, False
        try:
            whole = await self._read()
            if whole and self._is_kept:
                here = self._spool.here()
                body = SpooledBody(self._spool) if here is None else here
                kept = StoredResponse(self._source.status, self._source.headers.pairs(), body)
        except Exception as failure:
            error = failure
        finally:
            self._source.abort()
            await (self._claim.complete(kept) if whole else self._claim.release())
        if self._left_at is None:
            await self._pieces.put(error)

    async def _read(self) -> bool:
        """Whether all of it was read."""
        async with aclosing(self._stream) as stream:
            async for piece in stream:
                await self._keep(piece)
                if self._left_at is None:
                    await self._pieces.put((piece, remaining_of(stream)))
                elif not self._is_kept or time.monotonic() - self._left_at > self._seconds:
                    return False
        # One that was ended before its reading began gives nothing, as an empty one does.
        return not isinstance(stream, Body) or stream.outcome == "complete"

    async def _keep(self, piece: bytes) -> None:
        if not self._is_kept:
            return
        self._is_kept = self._spool.size + len(piece) <= MAX_KEPT
        if self._is_kept:
            try:
                await self._spool.write(piece)
            except GatewayError:  # there is no room
                self._is_kept = False
        if not self._is_kept:
            self._spool.close()

    async def _taken(self) -> AsyncIterator[bytes]:
        while (taken := await self._pieces.get()) is not None:
            if isinstance(taken, Exception):
                raise taken
            piece, self._body.remaining = taken
            yield piece

    def _leave(self) -> None:
        self._left_at = time.monotonic()
        if not self._pieces.empty():
            self._pieces.get_nowait()  # so that `run` goes on
