"""Masking by value: a token or secret that a server sends back never reaches a text that leaves the process."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus

from ._messages import JSON

MASK = "***"
_ESCAPE = re.compile("%[0-9A-F]{2}")
_SHORTEST = 4  # masking shorter values would tear ordinary words apart and protect nothing


class Mask:
    """Replaces each of some values by ***, in its plain, percent-encoded, JSON-escaped and base64 spellings."""

    def __init__(self, values: Iterable[str]) -> None:
        spellings = {spelling for value in values for spelling in _spellings(value)}
        # The longest first: a spelling may hold a shorter one.
        self._text = sorted(spellings, key=len, reverse=True)
        self._data = [spelling.encode("utf-8", "surrogatepass") for spelling in self._text]
        self._beginnings = {data[:end] for data in self._data for end in range(1, len(data))}
        self._longest = max(map(len, self._beginnings), default=0)

    def text(self, text: str) -> str:
        """`text`, masked."""
        for spelling in self._text:
            text = text.replace(spelling, MASK)
        return text

    def data(self, data: bytes) -> bytes:
        """UTF-8 bytes, masked."""
        for spelling in self._data:
            if spelling in data:
                data = data.replace(spelling, MASK.encode())
        return data

    def open_end(self, data: bytes) -> int:
        """How many bytes at the end of `data` may be the beginning of a value."""
        beginnings, size = self._beginnings, len(data)
        return next((n for n in range(min(self._longest, size), 0, -1) if data[size - n :] in beginnings), 0)

    def json(self, data: JSON) -> JSON:
        """A parsed JSON text, each key and string of it masked."""
        if isinstance(data, str):
            return self.text(data)
        if isinstance(data, list):
            return [self.json(each) for each in data]
        if isinstance(data, dict):
            return {self.text(key): self.json(each) for key, each in data.items()}
        return data


class StreamMask:
    """Masks a stream of UTF-8 bytes whose pieces may cut a value in two. Of each piece it holds back only an end that
    may be the beginning of a value, so what is no part of one passes at once."""

    def __init__(self, mask: Mask) -> None:
        self._mask = mask
        self._rest = b""

    def feed(self, piece: bytes) -> bytes:
        """What can go on of this piece and of what was held back; often all of it, sometimes nothing."""
        data = self._mask.data(self._rest + piece if self._rest else piece)
        held = self._mask.open_end(data)
        self._rest = data[len(data) - held :] if held else b""
        return data[: len(data) - held] if held else data

    def finish(self) -> bytes:
        """What was held back, which was no value after all."""
        rest, self._rest = self._rest, b""
        return rest


def _spellings(value: str) -> Iterator[str]:
    if len(value) < _SHORTEST:
        return
    yield value
    for encoded in (quote(value, safe=""), quote(value), quote_plus(value)):
        yield encoded
        yield _ESCAPE.sub(lambda escape: escape[0].lower(), encoded)  # RFC 3986, 2.1: the digits have no case
    escaped = json.dumps(value)[1:-1]
    yield escaped
    yield escaped.replace("/", "\\/")
    yield json.dumps(value, ensure_ascii=False)[1:-1]
    raw = value.encode("utf-8", "surrogatepass")
    # Inside a longer base64 text the value may start at any of three offsets; the outer characters mix with its
    # neighbours, so only the inner ones are the value's own.
    for offset in range(3):
        padded = base64.b64encode(b"\0" * offset + raw).decode()
        inner = padded[(0, 2, 3)[offset] : len(padded) - (0, 3, 2)[(offset + len(raw)) % 3]]
        if len(inner) >= _SHORTEST:
            yield inner
            yield inner.replace("+", "-").replace("/", "_")
