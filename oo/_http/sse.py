"""Lines and server-sent events out of bytes that come in any pieces (WHATWG HTML, 9.2.6). Pure, no I/O."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ..exceptions import DoubleOError

_END = re.compile(rb"\r\n|\n|\r")
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class ServerEvent:
    """One event: `data` with its lines joined, its `event` type, the last `id` that was sent, and the reconnection
    time `retry` (milliseconds) where the server gave one."""

    data: str
    event: str = "message"
    id: str = ""
    retry: int | None = None


class LineDecoder:
    """Cuts bytes into lines ended by CR, LF or CRLF, wherever the pieces are cut. A line of over `limit` bytes is a
    DoubleOError (reason "size")."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._rest = bytearray()
        self._after_cr = False

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """The lines that a piece completes, without their ends."""
        if self._after_cr and piece.startswith(b"\n"):
            piece = piece[1:]
            self._after_cr = False
        if not piece:
            return
        # A CR ends its line at once; waiting for an LF that may follow would hold the line back.
        self._after_cr = piece.endswith(b"\r")
        begin = 0
        for end in _END.finditer(piece):
            self._rest += piece[begin : end.start()]
            begin = end.end()
            self._check()
            line, self._rest = bytes(self._rest), bytearray()
            yield line
        self._rest += piece[begin:]
        self._check()

    def finish(self) -> bytes:
        """What came after the last line's end."""
        return bytes(self._rest)

    def _check(self) -> None:
        if len(self._rest) > self._limit:
            raise DoubleOError(f"a line of the stream is longer than {self._limit} bytes", reason="size")


class EventDecoder:
    """Reads server-sent events. An event that the stream leaves incomplete is dropped, as the standard says,
    unless `finish` asks for it."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lines = LineDecoder(limit)
        self._first = True
        self._data: list[str] = []
        self._size = 0
        self._event = ""
        self._id = ""
        self._retry: int | None = None

    def feed(self, piece: bytes) -> Iterator[ServerEvent]:
        """The events that a piece completes."""
        for line in self._lines.feed(piece):
            if self._first:
                line, self._first = line.removeprefix(_BOM), False
            if line:
                self._field(line)
                continue
            if self._data:
                yield self._whole()
            self._data, self._size, self._event = [], 0, ""

    def finish(self) -> ServerEvent | None:
        """The event that the end of the stream left incomplete, where it has data."""
        if line := self._lines.finish():
            self._field(line.removeprefix(_BOM) if self._first else line)
        return self._whole() if self._data else None

    def _whole(self) -> ServerEvent:
        return ServerEvent("\n".join(self._data), self._event or "message", self._id, self._retry)

    def _field(self, line: bytes) -> None:
        name, _, raw = line.partition(b":")
        value = raw.removeprefix(b" ").decode("utf-8", "replace")
        if name == b"data":
            self._size += len(line)
            if self._size > self._limit:
                raise DoubleOError(f"an event of the stream is larger than {self._limit} bytes", reason="size")
            self._data.append(value)
        elif name == b"event":
            self._event = value
        elif name == b"id" and "\0" not in value:
            self._id = value
        elif name == b"retry" and value.isascii() and value.isdigit() and len(value) < 10:
            self._retry = int(value)
        # A line that begins with a colon is a comment, and other names mean nothing.
