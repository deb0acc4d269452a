"""Bodies that are kept to be read again: in memory up to 1 MiB, above that in a temporary file.

The file has mode 0600 and no name, so that it is gone with the process. It lies where `TMPDIR` says.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import threading
import weakref
from collections.abc import AsyncIterator, Callable
from typing import IO

from .._http.body import Body
from .capacity import Place
from .errors import GatewayError

IN_MEMORY = 1 << 20
"""Bytes of a body that are kept in memory."""
_PIECE = 256 << 10  # bytes that are read back at once


class Spool:
    """Bytes that are written once, and then read as often as need be. `close` forgets them."""

    def __init__(self, place: Place) -> None:
        """What is written counts in the call's `place`, and is forgotten when that is free."""
        self.size = 0
        self._place = place
        self._parts: list[bytes] = []  # what is not in the file
        self._held = 0  # bytes of them
        self._file: IO[bytes] | None = None
        self._closed = False
        self._lock = threading.Lock()  # the file has one position
        place.on_free(self.close)

    async def write(self, piece: bytes) -> None:
        """Append a piece. Busy or 413 if there is no room for it."""
        self._place.keep(len(piece))
        self._parts.append(piece)
        self._held += len(piece)
        self.size += len(piece)
        if self._held > IN_MEMORY:
            parts, self._parts, self._held = self._parts, [], 0
            try:
                await asyncio.to_thread(self._append, parts)
            except OSError as error:
                raise GatewayError(
                    503, "the gateway cannot keep that body", "no space", {"Retry-After": "60"}
                ) from error

    def here(self) -> bytes | None:
        """All of it, where it is in memory."""
        if self._file is not None:
            return None
        if len(self._parts) > 1:
            self._parts = [b"".join(self._parts)]
        return self._parts[0] if self._parts else b""

    async def pieces(self) -> AsyncIterator[bytes]:
        """All of it from the beginning."""
        in_file, at = self.size - self._held, 0
        while at < in_file:
            piece = await asyncio.to_thread(self._read, at)
            at += len(piece)
            yield piece
        for piece in self._parts:
            yield piece

    def close(self) -> None:
        """Forget the bytes, and give the disk its space back."""
        self._parts = []
        size, self.size, self._held = self.size, 0, 0
        self._place.give_back(size)
        if size > IN_MEMORY:
            # Not on the loop: to free a large file takes the system a while.
            asyncio.get_running_loop().run_in_executor(None, self._close)

    def _append(self, parts: list[bytes]) -> None:
        with self._lock:
            if self._closed:
                return
            if self._file is None:
                self._file = tempfile.TemporaryFile()  # noqa: SIM115  # closed by `_close`
                weakref.finalize(self, self._file.close)  # at the latest
            self._file.seek(0, os.SEEK_END)
            self._file.writelines(parts)

    def _read(self, at: int) -> bytes:
        with self._lock:
            if self._file is None or self._closed:
                raise ValueError("the spool is closed")
            self._file.seek(at)
            return self._file.read(_PIECE)

    def _close(self) -> None:
        with self._lock:
            self._closed = True
            if self._file is not None:
                self._file.close()


class SpooledBody(Body):
    """A body that can be read again from its beginning."""

    def __init__(self, spool: Spool) -> None:
        super().__init__(spool.pieces, length=spool.size)
        self._spool = spool

    def here(self) -> bytes | None:
        """All of it, where it is in memory."""
        return self._spool.here()


async def spooled(body: Body, place: Place, see: Callable[[bytes], object] = len) -> Body:
    """The same bytes as a body that can be read again; the one given where it can. `see` gets each piece as it comes.

    Busy, 413 or 503 if there is no room. What was taken counts in `place`, and is kept until that is free.
    """
    if body.replayable:
        async for piece in body:
            see(piece)
        return body
    if body.length:
        place.check(body.length)
    spool = Spool(place)
    async for piece in body:
        see(piece)
        await spool.write(piece)
    return SpooledBody(spool)


async def kept(body: Body, place: Place, see: Callable[[bytes], object] = len) -> bytes | Body:
    """The same bytes, such that they can be read again: as bytes where they have come whole, else `spooled`."""
    here = None if body.replayable else body.here()
    if here is None:
        return await spooled(body, place, see)
    place.keep(len(here))
    see(here)
    return here
