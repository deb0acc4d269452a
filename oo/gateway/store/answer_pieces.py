"""A kept answer, cut into pieces that are sealed each by itself: none takes long to seal, to read or to send.

The first piece begins with the status, the length and the headers.
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from itertools import chain
from typing import NamedTuple

from ..._http.body import Body
from ...exceptions import DoubleOError
from ..errors import IntegrityError, StoreError
from ..models import StoredResponse
from ..sealing import SEAL, Keyring, derive
from .pages import taken

MAX_PIECES = 256
"""Pieces of one answer, at most."""

_PIECE = 256 << 10  # bytes
_ROWS = 174  # bytes that an answer's row takes beside its pieces, with its places in two indexes
_DAY = 24 * 3600
_KIND = "answer"  # what a piece is sealed as: those of another layout do not open


def new_fence() -> bytes:
    """A fence for a claim: 16 bytes. They begin with the time, as a UUID of RFC 9562, 5.7 does, so that the last ones
    stand together in an index. Ten are random."""
    return (time.time_ns() // 1_000_000).to_bytes(6, "big") + os.urandom(10)


class Call(NamedTuple):
    """A call that was made: its token's id, the keyed hash of its key, the fence of its claim."""

    token: str
    key: bytes
    fence: bytes

    def name(self, pieces: int) -> str:
        """What each of its answer's pieces is bound to."""
        return f"{self.token}.{self.key.hex()}.{self.fence.hex()}.{pieces}"

    def seal(self, ring: Keyring, cut: Cut) -> Iterator[bytes]:
        """Each piece of its answer, sealed."""
        name = self.name(cut.pieces)
        return (ring.seal(ring.current, _KIND, name, number, piece) for number, piece in enumerate(cut))

    def open(self, ring: Keyring, pieces: int, number: int, sealed: bytes) -> bytes:
        """A piece of its answer, by its number of so many; IntegrityError where it is another."""
        name = self.name(pieces)
        for key in reversed(ring.ids):  # `oo rekey --deep` leaves answers as they are
            with suppress(IntegrityError):
                return ring.open(key, _KIND, name, number, sealed)
        raise IntegrityError("a kept answer does not open: it was changed, or its key is gone")


class Cut:
    """An answer in pieces: how many, how many bytes of a disk they take, and each. `parts` are the body of one that
    flows. It is counted as SQLite fills it; PostgreSQL takes up to a quarter more."""

    def __init__(self, response: StoredResponse, parts: Sequence[bytes] | None = None) -> None:
        if parts is None:
            if not isinstance(response.body, bytes):
                raise TypeError("an answer is kept once it was read whole")
            parts = [response.body]
        length = sum(map(len, parts))
        lines = (str(response.status), str(length), *chain.from_iterable(response.headers))
        text = "\0".join(lines)
        if text.count("\0") >= len(lines):  # a header holds one, which is a space then (RFC 9110, 5.5)
            text = "\0".join(line.replace("\0", " ") for line in lines)
        head = text.encode("utf-8", "surrogatepass")
        head = len(head).to_bytes(4, "big") + head
        self._parts = [head, *parts]
        self._most = max(_PIECE, len(head))
        self.pieces = -(-(len(head) + length) // self._most)
        last = len(head) + length - (self.pieces - 1) * self._most
        self.size = (self.pieces - 1) * taken(self._most + SEAL) + taken(last + SEAL) + _ROWS

    def __iter__(self) -> Iterator[bytes]:
        if self.pieces == 1:
            yield b"".join(self._parts)
            return
        waiting = bytearray()
        for part in self._parts:
            for at in range(0, len(part), self._most):
                waiting += part[at : at + self._most]
                if len(waiting) >= self._most:
                    yield bytes(waiting[: self._most])
                    del waiting[: self._most]
        if waiting:
            yield bytes(waiting)


async def parts_of(response: StoredResponse) -> list[bytes]:
    """The body of an answer, read to its end, in the pieces in which it came: one of 16 MiB takes longer to join than a
    loop may be held."""
    body = response.body
    return [body] if isinstance(body, bytes) else [piece async for piece in body]


def joined(first: bytes, pieces: int, piece: Callable[[int], Awaitable[bytes | None]]) -> StoredResponse:
    """The answer that begins with that piece. `piece` reads another while the body is read, by its number, and gives
    None where it was dropped."""
    status, headers, length, start = opened(first)
    if pieces == 1:
        return StoredResponse(status, headers, start)
    return StoredResponse(status, headers, Body(_read(start, pieces, piece), length=length))


async def _read(start: bytes, pieces: int, piece: Callable[[int], Awaitable[bytes | None]]) -> AsyncIterator[bytes]:
    yield start
    for number in range(1, pieces):
        try:
            found = await piece(number)
        except StoreError:
            found = None
        if found is None:
            raise DoubleOError("the rest of the answer was dropped meanwhile", reason="protocol")
        yield found


def opened(first: bytes) -> tuple[int, tuple[tuple[str, str], ...], int, bytes]:
    """What a first piece holds: the status, the headers, the length of the body, and how that begins."""
    end = 4 + int.from_bytes(first[:4], "big")
    status, length, *lines = first[4:end].decode("utf-8", "surrogatepass").split("\0")
    return int(status), tuple(zip(lines[::2], lines[1::2], strict=True)), int(length), first[end:]


def day_of(at: float) -> int:
    """The day of a time, in seconds since 1970."""
    return int(at // _DAY)


def begin_of(day: int) -> float:
    """When a day begins, in seconds since 1970."""
    return float(day * _DAY)


@lru_cache(4)
def keyring_of(keys: tuple[bytes, ...], day: int) -> Keyring:
    """The ring of a day's answers, derived from a store's keys of results and kept nowhere: each of the many pieces
    draws a random nonce (NIST SP 800-38D, 8.3). IntegrityError where the store has none."""
    if not keys:
        raise IntegrityError("the vault has no key for results")
    return Keyring([derive(key, b"double-o results of day %d" % day) for key in keys])
