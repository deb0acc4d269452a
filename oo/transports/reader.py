"""Reading a body within its limits: how much, how compressed, how long it said it would be."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Protocol

from .._http.body import Body
from .._http.response import too_large
from ..exceptions import DoubleOError
from .codings import NO_CODINGS, STEP, Inflater, inflater

CHUNK = STEP
"""Bytes read in one step."""

ACCEPT_ENCODING = "gzip, deflate"
"""What `Decoder` undoes."""

_HELD = 4 << 20  # bytes of a compressed body's contents that are kept before it is known to be within the limit
_FIELDS = ("Content-Length", "Transfer-Encoding", "Content-Encoding")
_LENGTH = re.compile("[0-9]{1,18}")


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
    "protocol") where they contradict each other."""

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
        self.encoding = "identity"
        if encodings:
            codings = [coding.strip() for coding in ",".join(encodings).lower().split(",")]
            self.encoding = ", ".join(coding for coding in codings if coding not in NO_CODINGS) or "identity"


class Decoder:
    """Undoes a Content-Encoding (RFC 9110, 8.4) step by step, so that memory never follows what a server sends.

    DoubleOError: "protocol" where the encoding is broken or cannot be undone here, "connection" where it was cut short.
    """

    def __init__(self, encoding: str) -> None:
        self.encoding = encoding
        self._inflater: Inflater | None = None
        self._ended = False
        self._may_go_on = True

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The decoded bytes of one chunk, in small pieces."""
        if self.encoding == "identity":
            yield chunk
            return
        more = False
        while chunk or more:
            if self._inflater is None:
                # Zeros behind a stream pad it, as gzip(1) has it.
                if self._ended and not (chunk := chunk.lstrip(b"\0")):
                    return
                if not self._may_go_on:
                    break
                self._inflater = inflater(self.encoding, chunk)
            try:
                piece, chunk, more = self._inflater.step(chunk)
            except self._inflater.errors:
                break
            if self._inflater.eof:
                self._ended, self._may_go_on, self._inflater = True, self._inflater.several, None
            if piece:
                yield piece
        else:
            return
        raise DoubleOError("the compressed answer is broken", reason="protocol")

    def finish(self) -> None:
        """Raise where the compressed stream has not ended."""
        if self._inflater is not None:
            raise DoubleOError("the compressed answer was cut short", reason="connection", retryable=True)


class DecodedBody(Body):
    """An answer's body as it comes, its Content-Encoding undone."""

    def __init__(self, source: Source, framing: Framing) -> None:
        self._decoder = Decoder(framing.encoding)
        self._framing = framing
        length = framing.length if framing.encoding == "identity" else None
        super().__init__(_decoded(self._decoder, source), length=length, abort=source.abort)

    def keep_encoding(self) -> None:
        """Let the bytes come as they were sent, to be passed on with their Content-Encoding."""
        self._decoder.encoding = "identity"
        self.length = self._framing.length


async def _decoded(decoder: Decoder, source: Source) -> AsyncIterator[bytes]:
    while chunk := await source.read():
        for piece in decoder.feed(chunk):
            yield piece
    decoder.finish()
    source.release()


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
            raise too_large(limit)
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
                raise too_large(limit)
            if size > _HELD:
                held = None
        # What cannot be compressed grows a little; what grows more holds nothing but empty blocks.
        if sent > limit + (limit >> 8) + CHUNK:
            raise too_large(limit)
    decoder.finish()
    source.release()
    if held is None:
        again = Decoder(encoding)
        return b"".join(piece for chunk in received for piece in again.feed(chunk))
    return b"".join(held)


def streamed(source: Source, framing: Framing) -> Body:
    """A body as it comes, decoded; its length is known where it comes as it is."""
    return DecodedBody(source, framing)


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
