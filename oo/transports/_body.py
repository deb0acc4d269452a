"""Reading a body within its limits: how much, how compressed, how long it said it would be."""

from __future__ import annotations

import zlib
from collections.abc import Callable

from .._messages import Headers
from ..exceptions import DoubleOError

CHUNK = 64 << 10
"""Bytes read, and at most decompressed, in one step."""

ACCEPT_ENCODING = "gzip, deflate"
"""What `Decoder` undoes."""


class Decoder:
    """Undoes a Content-Encoding (RFC 9110, 8.4) step by step, so that memory never follows what a server sends.

    `feed` gives the decoded bytes of a chunk, `finish` raises where the stream was cut short. Both raise
    DoubleOError: "size" past `limit` bytes, "protocol" for an encoding that is unknown or broken.
    """

    def __init__(self, headers: Headers, limit: int) -> None:
        self._left = self._limit = limit
        self._inflate: zlib._Decompress | None = None
        self._fresh = True
        self._encoding = headers.get("Content-Encoding", "").strip().lower() or "identity"
        if self._encoding not in _WINDOWS:
            raise DoubleOError("the answer came in an encoding that was not asked for", reason="protocol")
        if not _WINDOWS[self._encoding] and int(declared(headers) or 0) > limit:
            raise self._too_large()

    def feed(self, chunk: bytes) -> bytes:
        """The decoded bytes of one chunk."""
        if not _WINDOWS[self._encoding]:
            return self._count(chunk)
        parts = []
        while chunk:
            if self._inflate is None:
                self._inflate = self._start(chunk)
            try:
                # One byte more than is left, so that going over shows.
                parts.append(self._count(self._inflate.decompress(chunk, self._left + 1)))
            except zlib.error:
                break
            chunk = self._inflate.unconsumed_tail
            if self._inflate.eof:
                # A gzip body may be of several members (RFC 1952, 2.2).
                chunk, self._inflate, self._fresh = self._inflate.unused_data, None, False
        else:
            return b"".join(parts)
        raise DoubleOError("the compressed answer is broken", reason="protocol")

    def finish(self) -> None:
        """Raise where the compressed stream has not ended."""
        if self._inflate is not None:
            raise DoubleOError("the compressed answer was cut short", reason="connection", retryable=True)

    def _start(self, chunk: bytes) -> zlib._Decompress:
        window = _WINDOWS[self._encoding]
        # "deflate" means zlib (RFC 9110, 8.4.1.2), but some servers send it bare.
        if self._encoding == "deflate" and not (chunk[0] & 0x0F == 8 and chunk[0] >> 4 <= 7):
            window = -zlib.MAX_WBITS
        return zlib.decompressobj(window)

    def _count(self, data: bytes) -> bytes:
        self._left -= len(data)
        if self._left < 0:
            raise self._too_large()
        return data

    def _too_large(self) -> DoubleOError:
        return DoubleOError(f"the answer is larger than {self._limit} bytes", reason="size")


_WINDOWS = {"identity": 0, "gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}


def declared(headers: Headers) -> int | None:
    """The Content-Length, where there is one; DoubleOError (reason "protocol") where it is no length or disputed."""
    values = {value.strip() for field in headers.get_all("Content-Length") for value in field.split(",")}
    if not values:
        return None
    value = values.pop()
    # RFC 9112, 6.3: one list of equal decimal lengths, or the message is invalid.
    if values or not (value.isascii() and value.isdigit() and len(value) < 19):
        raise DoubleOError("the answer's Content-Length makes no sense", reason="protocol")
    return int(value)


def read_all(read: Callable[[], bytes], decoder: Decoder) -> bytes:
    """All of a body through a decoder; `read` gives b"" at its end."""
    parts = []
    while chunk := read():
        parts.append(decoder.feed(chunk))
    decoder.finish()
    return b"".join(parts)
