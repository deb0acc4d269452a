"""A kept answer, cut into pieces that are sealed each by itself: none takes long to seal, to read or to send.

The first piece begins with the status and the headers.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from ..models import StoredResponse
from ..sealing import Keyring, derive

MAX_PIECES = 256
"""Pieces of one answer, at most."""

_PIECE = 256 << 10  # bytes
_ROWS = 512  # bytes that the rows of an answer take beside its pieces, about
_DAY = 24 * 3600


class Call(NamedTuple):
    """A call that was made: its token's id, the keyed hash of its key, the fence of its claim."""

    token: str
    key: bytes
    fence: bytes

    def name(self, pieces: int) -> str:
        """What each of its answer's pieces is bound to."""
        return f"{self.token}.{self.key.hex()}.{self.fence.hex()}.{pieces}"


class Cut:
    """An answer in pieces: how many, how many bytes they take, and each."""

    def __init__(self, response: StoredResponse) -> None:
        body = response.body
        if not isinstance(body, bytes):
            raise TypeError("an answer is kept once it was read whole")
        head = json.dumps([response.status, response.headers, len(body)]).encode()
        self._head = len(head).to_bytes(4, "big") + head
        self._body = body
        self._start = max(_PIECE - len(self._head), 0)  # where the second piece begins in the body
        self.pieces = 1 + -(-max(len(body) - self._start, 0) // _PIECE)
        self.size = len(self._head) + len(body) + _ROWS

    def __iter__(self) -> Iterator[bytes]:
        yield self._head + self._body[: self._start]
        for begin in range(self._start, len(self._body), _PIECE):
            yield self._body[begin : begin + _PIECE]


def opened(first: bytes) -> tuple[int, tuple[tuple[str, str], ...], int, bytes]:
    """What a first piece holds: the status, the headers, the length of the body, and how that begins."""
    end = 4 + int.from_bytes(first[:4], "big")
    status, headers, length = json.loads(first[4:end])
    return status, tuple((name, value) for name, value in headers), length, first[end:]


def day_of(at: float) -> int:
    """The day of a time, in seconds since 1970."""
    return int(at // _DAY)


@lru_cache(4)
def keyring_of(root: bytes, day: int) -> Keyring:
    """The ring of a day's answers, derived from a store's root and kept nowhere: each of the many pieces draws a random
    nonce (NIST SP 800-38D, 8.3)."""
    return Keyring([derive(root, b"double-o results of day %d" % day)])
