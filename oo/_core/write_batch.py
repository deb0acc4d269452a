"""Writes that are made together: what many connections were given to write in one turn of an event loop.

A write is a call of the system that wakes whoever reads, and between two of them the code and the data of a call leave
the processor's caches. Made together they cost half, and what was asked together is answered together (`python -m
benchmarks --row tasks`: 64 tasks make 1.9 times the calls of aiohttp's session, 1.4 times where each writes at once).
A write that is alone in its turn is made one turn later, some ten microseconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from .io import unwritten

LARGEST = 64 << 10
"""Bytes that a transport keeps back."""


class WriteBatch:
    """The transports with something to write at the end of an event loop's turn."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: list[BatchedTransport] = []

    def add(self, transport: BatchedTransport) -> None:
        """Have a transport write what it keeps when the turn ends."""
        if not self._waiting:
            self._loop.call_soon(self._end)
        self._waiting.append(transport)

    def _end(self) -> None:
        waiting, self._waiting = self._waiting, []
        for transport in waiting:
            try:
                transport.flush()
            except Exception as error:  # noqa: PERF203  # the others are written all the same
                transport.abort()
                self._loop.call_exception_handler({"message": "a write failed", "exception": error})


class BatchedTransport:
    """A transport of asyncio's whose small writes wait for the end of the turn. Whatever else is asked of it, it asks
    the one beneath, `under`, which must not be written to beside it."""

    __slots__ = ("_batch", "_kept", "get_extra_info", "is_closing", "under")

    def __init__(self, under: Any, batch: WriteBatch) -> None:
        self.under: Any = under
        self._batch = batch
        self._kept = b""
        # Asked at each call, and so without a way through here.
        self.is_closing = under.is_closing
        self.get_extra_info = under.get_extra_info

    def __getattr__(self, name: str) -> Any:
        return getattr(self.under, name)

    def write(self, data: bytes) -> None:
        """Write at the end of the turn, or at once what is large."""
        if not self._kept:
            self._batch.add(self)
        self._kept += data
        if len(self._kept) > LARGEST:
            self.flush()

    def writelines(self, lines: Iterable[bytes]) -> None:
        """Write all of them."""
        self.write(b"".join(lines))

    def flush(self) -> None:
        """Write what was kept back, unless the transport was closed meanwhile."""
        kept, self._kept = self._kept, b""
        if kept and not self.is_closing():
            self.under.write(kept)

    def get_write_buffer_size(self) -> int:
        """The bytes that were given and not written."""
        return len(self._kept) + unwritten(self.under)

    def write_eof(self) -> None:
        """Write nothing after what was written."""
        self.flush()
        self.under.write_eof()

    def close(self) -> None:
        """Close it once all is written."""
        self.flush()
        self.under.close()

    def abort(self) -> None:
        """Close it, and drop what was not written."""
        self._kept = b""
        self.under.abort()
