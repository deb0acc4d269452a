"""Reading a body within its limits: how much, how compressed, how long it said it would be."""

from __future__ import annotations

import re
import zlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Protocol

from .._http.body import Body
from ..exceptions import DoubleOError

CHUNK = 64 << 10
"""Bytes read, and at most decompressed, in one step."""

ACCEPT_ENCODING = "gzip, deflate"
"""What `Decoder` undoes."""

_HELD = 4 << 20  # bytes of a compressed body's contents that are kept before it is known to be within the limit
_FIELDS = ("Content-Length", "Transfer-Encoding", "Content-Encoding")
_LENGTH = re.compile("[0-9]{1,18}")
_WINDOWS = {"identity": 0, "gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}


class Source(Protocol):
    """The raw bytes of an answer, as they come."""

    @property
    def over(self) -> bool:
        """Whether it is known, without reading, that everything was read."""

    async def read(self) -> bytes:
        """Some bytes, as soon as there are any; b"" at the end. DoubleOError where the body breaks off."""

    def release(self) -> None:
        """The body was read to its end: give the connection back."""

    def abort(self) -> None:
        """It was not: close the connection."""


class Framing:
    """What the headers say of the body: its `length` (bytes as sent, or None) and its `encoding`. DoubleOError (reason
    "protocol") where they contradict each other, or name a coding that was not asked for."""

    __slots__ = ("encoding", "length")

    def __init__(self, get_all: Callable[[str], Sequence[str]]) -> None:
        """`get_all` gives each value of a header."""
        lengths, transfers, encodings = map(get_all, _FIELDS)
        # RFC 9112, 6.3: even a list of equal lengths may be refused, and aiohttp does.
        if len(lengths) > 1 or (lengths and not _LENGTH.fullmatch(lengths[0])):
            raise DoubleOError("the answer's Content-Length makes no sense", reason="protocol")
        if len(transfers) > 1 or (transfers and transfers[0].lower() != "chunked"):
            raise DoubleOError("the answer's Transfer-Encoding was not asked for", reason="protocol")
        if lengths and transfers:
            # RFC 9112, 6.1: so answers are smuggled.
            raise DoubleOError("the answer says in two ways how long it is", reason="protocol")
        self.length = int(lengths[0]) if lengths else None
        self.encoding = ", ".join(encodings).lower() or "identity"
        if self.encoding not in _WINDOWS:
            raise DoubleOError("the answer came in an encoding that was not asked for", reason="protocol")


class Decoder:
    """Undoes a Content-Encoding (RFC 9110, 8.4) step by step, so that memory never follows what a server sends.

    DoubleOError: "protocol" where the encoding is broken, "connection" where it was cut short.
    """

    def __init__(self, encoding: str) -> None:
        self._window = _WINDOWS[encoding]
        self._deflate = encoding == "deflate"
        self._inflate: zlib._Decompress | None = None
        self._over = False

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The decoded bytes of one chunk, in pieces of at most CHUNK."""
        if not self._window:
            yield chunk
            return
        more = False
        while chunk or more:
            if self._over:
                break
            if self._inflate is None:
                self._inflate = self._start(chunk)
            try:
                piece = self._inflate.decompress(chunk, CHUNK)
            except zlib.error:
                break
            chunk = self._inflate.unconsumed_tail
            # zlib may have taken all of the input and still hold output.
            more = len(piece) == CHUNK
            if self._inflate.eof:
                # A gzip body may be of several members (RFC 1952, 2.2), one of zlib's may not.
                chunk, self._inflate, more = self._inflate.unused_data, None, False
                self._over = self._deflate
            if piece:
                yield piece
        else:
            return
        raise DoubleOError("the compressed answer is broken", reason="protocol")

    def finish(self) -> None:
        """Raise where the compressed stream has not ended."""
        if self._inflate is not None:
            raise DoubleOError("the compressed answer was cut short", reason="connection", retryable=True)

    def _start(self, chunk: bytes) -> zlib._Decompress:
        # "deflate" means zlib (RFC 9110, 8.4.1.2), but some servers send it bare.
        bare = self._deflate and not (chunk[0] & 0x0F == 8 and chunk[0] >> 4 <= 7)
        return zlib.decompressobj(-zlib.MAX_WBITS if bare else self._window)


async def whole(source: Source, framing: Framing, limit: int) -> bytes:
    """All of a body, decoded; DoubleOError (reason "size") past `limit` bytes."""
    if framing.encoding != "identity":
        return await _inflated(source, framing.encoding, limit)
    parts: list[bytes] = []
    size, length = 0, framing.length or 0
    while chunk := await source.read():
        size += len(chunk)
        # The length says nothing where no body comes, as after HEAD.
        if size > limit or length > limit:
            raise _too_large(limit)
        parts.append(chunk)
        if source.over:
            break
    source.release()
    return parts[0] if len(parts) == 1 else b"".join(parts)


async def _inflated(source: Source, encoding: str, limit: int) -> bytes:
    """What a compressed body holds is kept up to a few MiB. Where it goes on, only its size is counted, and it is
    decoded once more when that is known to be within the limit: a bomb costs no more than what it was sent as."""
    decoder = Decoder(encoding)
    received: list[bytes] = []
    held: list[bytes] | None = []
    size = sent = 0
    while chunk := await source.read():
        received.append(chunk)
        sent += len(chunk)
        for piece in decoder.feed(chunk):
            size += len(piece)
            if held is not None:
                held.append(piece)
            if size > limit:
                raise _too_large(limit)
            if size > _HELD:
                held = None
        # What cannot be compressed grows a little; what grows more holds nothing but empty blocks.
        if sent > limit + (limit >> 8) + CHUNK:
            raise _too_large(limit)
    decoder.finish()
    source.release()
    if held is None:
        again = Decoder(encoding)
        return b"".join(piece for chunk in received for piece in again.feed(chunk))
    return b"".join(held)


def streamed(source: Source, framing: Framing) -> Body:
    """A body as it comes, decoded; its length is known where it comes as it is."""
    decoder = Decoder(framing.encoding)

    async def pieces() -> AsyncIterator[bytes]:
        while chunk := await source.read():
            for piece in decoder.feed(chunk):
                yield piece
        decoder.finish()
        source.release()

    return Body(pieces(), length=framing.length if framing.encoding == "identity" else None, abort=source.abort)


async def outgoing(body: Body) -> AsyncIterator[bytes]:
    """The pieces of a request's body as they are sent. DoubleOError (reason "body") where it cannot be read, or holds
    more or fewer bytes than its length says."""
    async for piece in body:
        if body.remaining is not None and body.remaining < 0:
            break
        if piece:  # an empty chunk would end a chunked body (RFC 9112, 7.1)
            yield piece
    if body.remaining:
        body.error = DoubleOError("the request's body does not hold as many bytes as its length says", reason="body")
        raise body.error


def unsent(body: bytes | Body | None) -> DoubleOError | None:
    """The failure of a request's body, where it is what kept the request from being sent."""
    error = body.error if isinstance(body, Body) else None
    if error is None or isinstance(error, DoubleOError):
        return error
    failure = DoubleOError(f"the request's body could not be read: {type(error).__name__}", reason="body")
    failure.__cause__ = error
    return failure


def _too_large(limit: int) -> DoubleOError:
    return DoubleOError(f"the answer is larger than {limit} bytes", reason="size")
