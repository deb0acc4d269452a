"""A body that flows: bytes that come or go in pieces."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable
from typing import Literal, TypeAlias

Outcome: TypeAlias = Literal["complete", "failed", "left"]
"""How a body ended: read to its end, broken off by an error, or left before its end."""


class Body:
    """Bytes in pieces: an async iterator, of a request or of an answer.

    `pieces` is an async iterable, or a function that makes one. A body made of a function is `replayable`: it can
    be read again from its beginning. `length` is the number of bytes, None if unknown. `abort` closes the source of
    the bytes. It is called if the body is not read to its end.

    Example:
        return response.replace(stream=Body(louder(response.stream)))
    """

    def __init__(
        self,
        pieces: AsyncIterable[bytes] | Callable[[], AsyncIterable[bytes]],
        *,
        length: int | None = None,
        abort: Callable[[], object] | None = None,
    ) -> None:
        self.length = length
        self.remaining = length
        """Bytes that are still to come, where that is known."""
        self.begun = False
        """Whether its reading has begun."""
        self.outcome: Outcome | None = None
        """How it ended; None until then."""
        self.error: Exception | None = None
        """The error that broke it off, or None."""
        self._pieces = pieces
        self._abort = abort
        self._callbacks: list[Callable[[Outcome], None]] = []

    @classmethod
    def wrapping(
        cls, stream: AsyncIterable[bytes], pieces: AsyncIterable[bytes], *, abort: Callable[[], object] | None = None
    ) -> Body:
        """A body of `pieces` that are made of a stream's. Its `remaining` begins as the stream's; what makes the pieces
        sets it anew with each of them. Aborting it aborts the stream, or calls `abort` where that is given."""
        body = cls(pieces, abort=getattr(stream, "abort", None) if abort is None else abort)
        body.remaining = remaining_of(stream)
        return body

    @property
    def replayable(self) -> bool:
        """Whether it can be read again from its beginning."""
        return callable(self._pieces)

    def here(self) -> bytes | None:
        """All of it, where nothing of it was asked for and it is here already, in memory; None elsewhere."""
        return None

    def on_end(self, callback: Callable[[Outcome], None]) -> None:
        """Call `callback(outcome)` once, when the body ends, or at once if it has ended. The callback must not
        raise."""
        if self.outcome is None:
            self._callbacks.append(callback)
        else:
            callback(self.outcome)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self.outcome is not None and not self.replayable:
            return
        self.begun = True
        if self.length is not None:
            self.remaining = self.length
        pieces = self._pieces() if callable(self._pieces) else self._pieces
        outcome: Outcome | None = None
        try:
            async for piece in pieces:
                if self.length is not None and self.remaining is not None:
                    self.remaining -= len(piece)
                yield piece
            outcome = "complete"
        except Exception as error:
            outcome, self.error = "failed", error
            raise
        finally:
            self._end(outcome or "left")
            if outcome is None and (close := getattr(pieces, "aclose", None)) is not None:
                await close()

    async def aclose(self) -> None:
        """Leave the rest."""
        self.abort()

    def abort(self) -> bool:
        """Leave the rest, without awaiting. Returns whether the body was still open."""
        was_open = self.outcome is None
        self._end("left")
        return was_open

    def _end(self, outcome: Outcome) -> None:
        if self.outcome is not None:
            return
        self.outcome = outcome
        if outcome != "complete" and self._abort is not None:
            self._abort()
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback(outcome)


def is_sendable(body: bytes | Body | None) -> bool:
    """Whether a request's body is all there to be sent: it is bytes, was not begun, or can be read again."""
    return not isinstance(body, Body) or body.replayable or not body.begun


def remaining_of(stream: AsyncIterable[bytes]) -> int | None:
    """How many bytes of a stream are still to come; None where that is not known."""
    return getattr(stream, "remaining", None)


async def read_whole(body: bytes | Body | None) -> bytes | None:
    """Read a request's body into bytes. None if it has no body."""
    if not isinstance(body, Body):
        return body
    return b"".join([piece async for piece in body])
