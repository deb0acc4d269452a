"""The head of an answer as both transports accept it: its bounds, and its lines as RFC 9112 has them."""

from __future__ import annotations

import re

from .._http.headers import NAME

LONGEST_LINE = 64 << 10
"""Bytes of a status line or header field."""

MOST_FIELDS = 100
"""Header fields of one answer."""

STATUS = re.compile(r"(HTTP/1\.[01]) ([1-9][0-9]{2})(?: ([^\0\r\n]*))?\r?\n")
"""A status line (RFC 9112, 4): the version, the status, the reason."""

FIELD = re.compile(rf"({NAME.pattern}):([^\0\r\n]*)\r?\n")
"""A field line (RFC 9112, 5): the name and the value."""

SIZE = re.compile(r"([0-9A-Fa-f]{1,16})[ \t]*(?:;[^\0\r\n]*)?\r\n")
"""The line before a chunk (RFC 9112, 7.1): its size in hexadecimal digits."""
