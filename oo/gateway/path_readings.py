"""What a server behind the gateway may take a path for. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache
from urllib.parse import unquote_to_bytes

# Segments of unreserved characters and sub-delims that do not end with a dot: these have one reading.
_PLAIN = re.compile(r"(?:/[A-Za-z0-9._~:@!$&'()*+,=-]*[A-Za-z0-9_~:@!$&'()*+,=-])*/?")
_MOST = 64  # readings of one path
_LONGEST = 1 << 16  # characters of them all

_CLIMBS = re.compile(r"(?:^|/)\s*\.[\s.]*(?:/|\Z)")  # a segment of dots, and blanks
_UNICODE_ESCAPE = re.compile("%u([0-9A-Fa-f]{4})")  # Microsoft's
# An ASCII character in two to six bytes, which UTF-8 does not allow (RFC 3629, 3). Of the last byte some decoders look
# at six bits alone.
_OVERLONG = re.compile(
    rb"(?:([\xc0\xc1])|\xe0([\x80\x81])|\xf0\x80([\x80\x81])|\xf8\x80\x80([\x80\x81])|\xfc\x80\x80\x80([\x80\x81]))(.)",
    re.DOTALL,
)
# What looks like a slash and is made one where text is squeezed into a smaller character set.
_ALIKE = str.maketrans(
    {**dict.fromkeys("\u2044\u2215\u29f8\u2571", "/"), **dict.fromkeys("\u2216\u29f5\xa5\u20a9", "\\"), "\u3002": "."}
)
# Control characters, and what Unicode has renderers ignore (Default_Ignorable_Code_Point).
_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
_PARAMETER = re.compile(r";[^/]*")
_EMPTY = re.compile("//+")
_END = re.compile(r"[;?#]")


def readings(path: str) -> tuple[str, ...]:
    """Each path that a server may take this one for, itself first.

    ValueError where there are too many, or one has a segment of dots alone: wherever a server begins, it may climb.
    """
    if _PLAIN.fullmatch(path):
        return (path,)
    found, waiting, size = {path: None}, [path], len(path)
    while waiting:
        text = waiting.pop()
        if _CLIMBS.search(text):
            raise ValueError("the path may be read as one that climbs")
        for looser in _LOOSER:
            read = looser(text)
            if read not in found:
                found[read] = None
                waiting.append(read)
                size += len(read)
        if len(found) > _MOST or size > _LONGEST:
            raise ValueError("the path may be read in too many ways")
    return tuple(found)


def _unescaped(text: str) -> str:
    return _bytes(text).decode("utf-8", "replace") if "%" in text else text


def _unescaped_bytes(text: str) -> str:
    """What is no UTF-8, as the bytes that it is."""
    if "%" not in text:
        return text
    data = _bytes(text)
    try:
        data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")
    return text


@lru_cache(1)  # asked for twice in a row, and the most of the work
def _bytes(text: str) -> bytes:
    text = _UNICODE_ESCAPE.sub(lambda escape: chr(int(escape[1], 16)), text)
    data = unquote_to_bytes(text.encode("utf-8", "replace"))
    return data if data.isascii() else _OVERLONG.sub(_ascii, data)


def _ascii(overlong: re.Match[bytes]) -> bytes:
    *heads, last = overlong.groups()
    [head] = filter(None, heads)
    return bytes([(head[0] & 1) << 6 | last[0] & 0x3F])


def _compatible(text: str) -> str:
    return text if text.isascii() else unicodedata.normalize("NFKC", text).translate(_ALIKE)


def _visible(text: str) -> str:
    return _INVISIBLE.sub("", text)


def _with_slashes(text: str) -> str:
    return text.replace("\\", "/")


def _without_parameters(text: str) -> str:
    return _PARAMETER.sub("", text)


def _cut(text: str) -> str:
    return _END.split(text, 1)[0]


def _trimmed(text: str) -> str:
    """Without blanks around segments, and without the dots behind them that Windows drops."""
    return "/".join([segment.strip().rstrip(". \t") for segment in text.split("/")])


def _merged(text: str) -> str:
    return _EMPTY.sub("/", text)


_LOOSER: tuple[Callable[[str], str], ...] = (
    _unescaped,
    _unescaped_bytes,
    _compatible,
    _visible,
    _with_slashes,
    _without_parameters,
    _cut,
    _trimmed,
    _merged,
)
