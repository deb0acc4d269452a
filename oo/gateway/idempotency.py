"""Idempotency keys: a POST that is retried happens once (draft-ietf-httpapi-idempotency-key-header).

The first call with a key is made and its result stored. A repeat gets that result, and waits for it if the first call
is still under way. The first call is completed even if its caller disconnects, since that caller is the one who will
retry. Its claim is renewed while it lasts, and expires if its process dies. A retryable failure is not stored, so the
next attempt makes the call again.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING

from .._core.errors import RETRYABLE
from .._http.body import Body, Outcome
from .._http.response import ByteStream, Response
from .errors import Conflict, StoreError
from .models import StoredResponse
from .store.base import Store

if TYPE_CHECKING:
    from typing_extensions import Self

logger = logging.getLogger("oo.gateway")

MAX_KEPT = 16 << 20
"""Bytes that the response to an idempotent call may hold to be kept for a repeat."""

_POLL = 0.02  # seconds between two checks of a call that another request or process is making
_GRACE = 5.0  # seconds beyond the timeout until a claim expires that nobody renews


class Claim:
    """If `result` is set, replay it. Else call inside `async with claim:` and have the answer `recorded`; on exit
    it's stored, or the key is freed."""

    def __init__(self, store: Store, token_id: str, key: str, found: StoredResponse | float, seconds: float) -> None:
        self.result: StoredResponse | None = None
        self._until = 0.0
        if isinstance(found, StoredResponse):
            self.result = found
        else:
            self._until = found
        self._store = store
        self._call = (token_id, key)
        self._seconds = seconds
        self._kept: StoredResponse | None = None
        self._recorder = _Recorder()

    @property
    def recording(self) -> bool:
        """Whether what is read now may be stored."""
        return self._recorder.recording

    def recorded(self, response: Response, fields: Iterable[tuple[str, str]]) -> Response:
        """The response, recorded while it is read. On exit it is stored with these headers, if it was read to its end,
        is not too large, and no retry may succeed."""
        if response.status in RETRYABLE:
            return response
        recorder = self._recorder

        def keep(end: Outcome) -> None:
            body = response.body if response.stream is None else recorder.body()
            if end == "complete" and body is not None:
                self._kept = StoredResponse(response.status, tuple(fields), body)

        if response.stream is None:
            return response.on_end(keep)
        return response.replace(stream=recorder.record(response.stream)).on_end(keep)

    async def __aenter__(self) -> Self:
        self._over = asyncio.get_running_loop().create_future()
        self._renewing = asyncio.create_task(self._renew())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over.set_result(None)
        await asyncio.shield(self._end())

    async def _renew(self) -> None:
        # An answer may stream for longer than any claim lasts.
        while not (await asyncio.wait([self._over], timeout=self._seconds / 2))[0]:
            with suppress(StoreError):
                until = await self._store.renew(*self._call, self._until, self._seconds)
                if until is None:
                    return
                self._until = until

    async def _end(self) -> None:
        # Wait for the renewal task: its last expiry identifies our claim.
        await self._renewing
        try:
            # After a failure too: the next request must not wait for a call that nobody makes.
            if self._kept is None:
                await self._store.release(*self._call, self._until)
            else:
                await self._store.complete(*self._call, self._until, self._kept)
        except StoreError as error:
            # The call was made, and whoever waits for its answer can still get it.
            logger.error("the result of an idempotent call was not kept: %s", error)  # noqa: TRY400  # one line


class _Recorder:
    """Keeps what passes, up to MAX_KEPT bytes."""

    def __init__(self) -> None:
        self.recording = False
        self._parts: list[bytes] = []

    def body(self) -> bytes | None:
        """What has passed; None if that was more."""
        return b"".join(self._parts) if self.recording else None

    def record(self, stream: ByteStream) -> Body:
        """The stream, kept as it is read."""
        self.recording = True

        async def pieces() -> AsyncIterator[bytes]:
            size = 0
            async for piece in stream:
                size += len(piece)
                if size <= MAX_KEPT:
                    self._parts.append(piece)
                else:
                    self.recording = False
                    self._parts.clear()
                body.remaining = getattr(stream, "remaining", None)
                yield piece

        body = Body(pieces(), abort=getattr(stream, "abort", None))
        body.remaining = getattr(stream, "remaining", None)
        return body


async def claimed(store: Store, token_id: str, key: str, call: bytes, timeout: float) -> Claim:
    """Claim a key, waiting for a call with it that is under way. `call` describes the request, and must be the same in
    a repeat. Conflict if it isn't, or if the first call doesn't end within `timeout` seconds and 5 more."""
    digest = hashlib.sha256(call).digest()
    seconds = timeout + _GRACE
    give_up_at = time.monotonic() + seconds
    while True:
        asking = asyncio.ensure_future(store.claim(token_id, key, digest, seconds))
        try:
            found = await asyncio.shield(asking)
        except asyncio.CancelledError:
            # The store completes the claim for a caller who has disconnected, so release it.
            if isinstance(until := await asking, float):
                await store.release(token_id, key, until)
            raise
        if found == "other":
            raise Conflict(422, "this Idempotency-Key was used with another request")
        if found != "taken":
            return Claim(store, token_id, key, found, seconds)
        if time.monotonic() > give_up_at:
            raise Conflict(409, "the first request with this Idempotency-Key is still under way")
        await asyncio.sleep(_POLL)
