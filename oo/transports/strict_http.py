"""http.client's reading of an answer, less its tolerance.

http.client takes the end of the connection for the end of the headers, stops reading them at a line that is none,
shows a 103 as the answer, and reads sizes with `int`: what was cut short or tampered with can look whole. This reads
as RFC 9112 has it, and so as aiohttp's parser does.

What it leans on inside http.client's `HTTPResponse`:

| name | why |
|---|---|
| `begin`, `_read_status`, `_get_chunk_left` | the parts that are too tolerant are read here |
| `_method`, `_check_close`, `_safe_read`, `_close_conn` | the parts that are not are used |
| `fp` (its `peek`, `readline`), `chunked`, `chunk_left`, `length`, `will_close` | what its `read1` goes by |
"""

from __future__ import annotations

import re
from http.client import HTTPException, HTTPMessage, HTTPResponse, RemoteDisconnected

from .._http.headers import field_text

LONGEST_LINE = 64 << 10
"""Bytes of a status line or header field."""

MOST_FIELDS = 100
"""Header fields of one answer."""

_STATUS = re.compile(r"(HTTP/1\.[01]) ([1-9][0-9]{2})(?: ([^\0\r\n]*))?\r?\n")
_FIELD = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([^\0\r\n]*)\r?\n")
_SIZE = re.compile(r"([0-9A-Fa-f]{1,16})[ \t]*(?:;[^\0\r\n]*)?\r\n")


class StrictResponse(HTTPResponse):
    """An answer as urllib3 reads it. HTTPException where it is not HTTP, RemoteDisconnected where it breaks off. With
    `must_close` its connection is not kept."""

    must_close = False

    def begin(self) -> None:
        version, self.status, self.reason = self._read_status()
        self.code = self.status
        self.version = 10 if version == "HTTP/1.0" else 11
        self.headers = self.msg = message = self._fields()
        empty = self.status < 200 or self.status in (204, 304) or self._method == "HEAD"  # type: ignore[attr-defined]  # http.client's own
        self.chunked = not empty and message.get("Transfer-Encoding", "").lower() == "chunked"
        self.chunk_left: int | None = None
        length = message.get("Content-Length", "")
        self.length = 0 if empty else int(length) if re.fullmatch("[0-9]{1,18}", length) and not self.chunked else None
        endless = self.length is None and not self.chunked
        self.will_close = endless or self.must_close or self._check_close()  # type: ignore[attr-defined]  # http.client's own

    def _read_status(self) -> tuple[str, int, str]:
        # A tunnel through a proxy is opened with this alone.
        while True:
            start = self.fp.peek(1)[:5]
            if not b"HTTP/".startswith(start):
                # Before the line is read: it may have no end.
                raise HTTPException("no status line")
            found = _STATUS.fullmatch(self._line())
            if found is None:
                raise HTTPException("no status line")
            status = int(found[2])
            if status >= 200 or status == 101:
                return found[1], status, found[3] or ""
            # RFC 9110, 15.2: an interim answer may be ignored.
            self._fields()

    def _fields(self) -> HTTPMessage:
        pairs: list[tuple[str, str]] = []
        while (line := self._line()) not in ("\r\n", "\n"):
            found = _FIELD.fullmatch(line)
            if found is not None and len(pairs) < MOST_FIELDS:
                value = found[2].strip(" \t")
                pairs.append((found[1], value if value.isascii() else field_text(value, "latin-1")))
            elif line[0] in " \t" and pairs and len(pairs[-1][1]) < LONGEST_LINE:
                # RFC 9112, 5.2: a folded field is one line.
                pairs[-1] = (pairs[-1][0], f"{pairs[-1][1]} {line.strip()}")
            else:
                raise HTTPException("no header field")
        message = HTTPMessage()
        for name, value in pairs:
            message[name] = value
        return message

    def _get_chunk_left(self) -> int | None:
        if not self.chunk_left:
            if self.chunk_left is not None and self._safe_read(2) != b"\r\n":  # type: ignore[attr-defined]  # http.client's own
                raise HTTPException("no end of chunk")
            size = _SIZE.fullmatch(self._line())
            if size is None:
                raise HTTPException("no chunk size")
            self.chunk_left = int(size[1], 16)
            if not self.chunk_left:
                self._fields()
                self._close_conn()  # type: ignore[attr-defined]  # http.client's own
                self.chunk_left = None
        return self.chunk_left

    def _line(self) -> str:
        line = self.fp.readline(LONGEST_LINE + 1)
        if line.endswith(b"\n"):
            return line.decode("latin-1")
        if len(line) > LONGEST_LINE:
            raise HTTPException("an endless line")
        raise RemoteDisconnected("the connection ended within a line")
