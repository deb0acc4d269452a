"""Masking by value: a token or secret that a server sends back never reaches a text that leaves the process.

A value is looked for as it is and in base64, in the text as it stands and with the escapes of JSON, of URLs and of HTML
undone: encoders differ in what they escape and in how, and each of their spellings is the value.
"""

from __future__ import annotations

import base64
import html
import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator

from .._http.json import JSON

MASK = "***"
_SHORTEST = 4  # masking shorter values would tear ordinary words apart and protect nothing


class Mask:
    """Replaces each of some values by ***, in plain and base64, however JSON, a URL or HTML would escape it."""

    def __init__(self, values: Iterable[str]) -> None:
        spellings = {spelling.encode("utf-8", "surrogatepass") for value in values for spelling in _spellings(value)}
        self._spellings = list(spellings)
        self._languages = _USUAL if all(map(_is_usual, self._spellings)) else _ALL

    def text(self, text: str) -> str:
        """`text`, masked."""
        data = text.encode("utf-8", "surrogatepass")
        masked = self.data(data)
        return text if masked is data else masked.decode("utf-8", "surrogatepass")

    def data(self, data: bytes) -> bytes:
        """UTF-8 bytes, masked."""
        spans = self.spans(data)
        return _masked(data, spans, 0, len(data))[0] if spans else data

    def spans(self, data: bytes) -> list[tuple[int, int]]:
        """Where in UTF-8 bytes the values stand, in the order of their beginnings; they may overlap."""
        found = [(at, at + len(each)) for each in self._spellings if each in data for at in _all(each, data)]
        for language in self._languages:
            if language.mark in data and language.escape.search(data):
                view = UnescapedView(data, language)
                found += [
                    (view.start_of(at), view.end_of(at + len(each)))
                    for each in self._spellings
                    for at in _all(each, view.data)
                ]
        return sorted(found)

    def open_end(self, data: bytes) -> int:
        """How many bytes at the end of `data` may be the beginning of a value."""
        start = self._beginning(data)
        for language in self._languages:
            if language.mark in data and (language.begun.search(data, len(data) - 12) or language.escape.search(data)):
                view = UnescapedView(data, language)
                start = min(start, view.start_of(self._beginning(view.data)))
        return len(data) - start

    def json(self, data: JSON) -> JSON:
        """A parsed JSON text, each key and string of it masked."""
        texts: list[bytes] = []

        def take(text: str) -> str:
            texts.append(text.encode("utf-8", "surrogatepass"))
            return text

        _changed(data, take)
        # All at once: there may be a great many, and each would be searched for every value.
        whole, start, masked = b"\n".join(texts), 0, []
        if not (spans := self.spans(whole)):
            return data
        end = 0
        for text in texts:
            stop = start + len(text)
            here = spans[bisect_left(spans, (start,)) : bisect_left(spans, (stop,))]
            piece, end = _masked(whole, here, max(start, end), stop)
            masked.append(piece.decode("utf-8", "surrogatepass"))
            start = stop + 1
        each = iter(masked)
        return _changed(data, lambda _: next(each))

    def _beginning(self, data: bytes) -> int:
        """Where in `data` the earliest spelling may begin that its end cuts off; its length where none does."""
        earliest = len(data)
        for spelling in self._spellings:
            for start in _all(spelling[:1], data, max(0, len(data) - len(spelling) + 1)):
                if spelling.startswith(data[start:]):
                    earliest = min(earliest, start)
                    break
        return earliest


class StreamMask:
    """Masks a stream of UTF-8 bytes whose pieces may cut a value in two. Of each piece it holds back only an end that
    may be the beginning of a value, so what is no part of one passes at once."""

    def __init__(self, mask: Mask) -> None:
        self._mask = mask
        self._rest = b""
        self._done = 0  # bytes at the beginning of the rest for which a *** has gone on already

    def feed(self, piece: bytes) -> bytes:
        """What can go on of this piece and of what was held back; often all of it, sometimes nothing."""
        data = self._rest + piece if self._rest else piece
        return self._go_on(data, len(data) - self._mask.open_end(data))

    def finish(self) -> bytes:
        """What was held back, which was the beginning of no value after all."""
        return self._go_on(self._rest, len(self._rest))

    def _go_on(self, data: bytes, cut: int) -> bytes:
        masked, end = _masked(data, self._mask.spans(data), self._done, cut)
        self._rest, self._done = data[cut:], end - cut
        return masked


class SeenValues:
    """The values that were sent or fetched, the last `most` of them at least and twice as many at most, so that a later
    answer which quotes one is masked."""

    def __init__(self, most: int = 256) -> None:
        self._most = most
        # Two generations instead of an order that every call would renew under a lock.
        self._young: dict[str, None] = {}
        self._old: dict[str, None] = {}
        self._made: tuple[dict[str, None], int, Mask] | None = None

    def add(self, value: str) -> None:
        """Take in a value."""
        if value in self._young:
            return
        self._young[value] = None
        if len(self._young) >= self._most:
            self._old, self._young = self._young, {}

    def mask(self) -> Mask:
        """What hides them."""
        young, made = self._young, self._made
        if made is None or made[0] is not young or made[1] != len(young):
            known = list(young)
            self._made = made = (young, len(known), Mask([*self._old, *known]))
        return made[2]


seen_values = SeenValues()
"""What this process has met."""


class EscapeSyntax:
    """A way of escaping: the byte that begins an escape, what those that may be part of a value look like, those that
    are passed over, and what the end of a text may leave of one."""

    def __init__(
        self, mark: bytes, escape: bytes, half: bytes, plain: Callable[[bytes], bytes], other: bytes = b""
    ) -> None:
        self.mark = mark
        self.plain = plain
        self.begun = re.compile(b"(?:" + half + rb")\Z")
        self.escape = re.compile(escape)
        # A run of others is one match: a text may hold a great many.
        passed = b"|" + other + b"(?:[^" + re.escape(mark) + b"]*" + other + b")*" if other else b""
        self.each = re.compile(b"(" + escape + b")|(" + half + rb")\Z" + passed)


class UnescapedView:
    """`data`, with the escapes of a language undone, and where in the text each byte of it stands. Half an escape at
    the end of the text is left out."""

    def __init__(self, data: bytes, language: EscapeSyntax) -> None:
        # Where, here and in the text, what is unescaped and what is escaped begin, by turns.
        self._here, self._there = [0], [0]
        view, end, over = bytearray(), 0, len(data)
        for match in language.each.finditer(data):
            if match[1] is not None:
                view += data[end : match.start()]
                self._turn(len(view), match.start())
                end = match.end()
                view += language.plain(match[1])
                self._turn(len(view), end)
            elif match[2] is not None:
                over = match.start()
        self.data = bytes(view + data[end:over])

    def start_of(self, at: int) -> int:
        """Where in the text a byte begins; what stands for it may be longer."""
        turn = bisect_right(self._here, at) - 1
        return self._there[turn] + (0 if turn % 2 else at - self._here[turn])

    def end_of(self, at: int) -> int:
        """Where in the text the byte before this one ends."""
        turn = bisect_right(self._here, at - 1) - 1
        return self._there[turn + 1] if turn % 2 else self._there[turn] + at - self._here[turn]

    def _turn(self, here: int, there: int) -> None:
        self._here.append(here)
        self._there.append(there)


def _of_json(escape: bytes) -> bytes:
    if escape[1:2] != b"u":
        return _SHORT.get(escape[1:], escape)
    units = bytes.fromhex(escape.replace(b"\\u", b"").decode())
    return units.decode("utf-16-be", "surrogatepass").encode("utf-8", "surrogatepass")


def _of_html(escape: bytes) -> bytes:
    return html.unescape(escape.decode()).encode()


_SHORT = dict(zip([bytes([each]) for each in b'"\\/bfnrt'], [bytes([each]) for each in b'"\\/\b\f\n\r\t'], strict=True))
_HEX = rb"[0-9a-fA-F]"
_UNIT = rb"\\u" + _HEX + b"{4}"
_HIGH = rb"\\u[dD][89abAB]" + _HEX + b"{2}"
_LOW = rb"\\u[dD][c-fC-F]" + _HEX + b"{2}"
_HALF = rb"\\(?:u" + _HEX + b"{0,3})?"

# RFC 8259, 7: any character may be \u and four digits, and one beyond the first 65,536 is two of these. Most values
# are of characters that a text has few escapes of.
_USUAL_JSON = EscapeSyntax(
    b"\\", rb"\\u00[2-7]" + _HEX + rb"|\\/", _HALF, _of_json, other=rb"\\(?:[^u/]|u(?!00[2-7])" + _HEX + b"{4})"
)
_ANY_JSON = EscapeSyntax(
    b"\\",
    _HIGH + _LOW + b"|(?!" + _HIGH + b"(?:" + _HALF + rb")?\Z)" + _UNIT + rb"|\\[^u]",
    b"(?:" + _HIGH + b")?" + _HALF + b"|" + _HIGH,
    _of_json,
)
# RFC 3986, 2.1: any byte may be escaped, and the digits have no case.
_PERCENT = EscapeSyntax(
    b"%", b"%" + _HEX + b"{2}", b"%" + _HEX + b"?", lambda escape: bytes.fromhex(escape[1:].decode())
)
_HTML = EscapeSyntax(
    b"&",
    b"&(?:#[0-9]{1,7}|#[xX]" + _HEX + b"{1,6}|[A-Za-z]{2,8});",
    b"&(?:#[0-9]{0,7}|#[xX]" + _HEX + b"{0,6}|[A-Za-z]{0,8})",
    _of_html,
)
_USUAL, _ALL = (_USUAL_JSON, _PERCENT, _HTML), (_ANY_JSON, _PERCENT, _HTML)


def _is_usual(spelling: bytes) -> bool:
    return spelling.isascii() and not re.search(rb'[\0-\x1f"\\\x7f]', spelling)


def _changed(data: JSON, change: Callable[[str], str]) -> JSON:
    if isinstance(data, str):
        return change(data)
    if isinstance(data, list):
        return [_changed(each, change) for each in data]
    if isinstance(data, dict):
        return {change(key): _changed(each, change) for key, each in data.items()}
    return data


def _masked(data: bytes, spans: list[tuple[int, int]], start: int, stop: int) -> tuple[bytes, int]:
    """`data` from `start` to `stop`, with *** for each value that begins there, one for those that overlap; and where
    that ends, which may be behind `stop`."""
    parts = []
    for begin, end in spans:
        if begin >= stop:
            break
        if begin >= start:
            parts += [data[start:begin], MASK.encode()]
        start = max(start, end)
    return b"".join([*parts, data[start:stop]]), max(start, stop)


def _spellings(value: str) -> Iterator[str]:
    if len(value) < _SHORTEST:
        return
    yield value
    yield value.replace(" ", "+")  # as forms have it
    raw = value.encode("utf-8", "surrogatepass")
    # Inside a longer base64 text the value may start at any of three offsets; the outer characters mix with its
    # neighbours, so only the inner ones are the value's own.
    for offset in range(3):
        padded = base64.b64encode(b"\0" * offset + raw).decode()
        inner = padded[(0, 2, 3)[offset] : len(padded) - (0, 3, 2)[(offset + len(raw)) % 3]]
        if len(inner) >= _SHORTEST:
            yield inner
            yield inner.replace("+", "-").replace("/", "_")


def _all(part: bytes, data: bytes, start: int = 0) -> Iterator[int]:
    while (start := data.find(part, start)) >= 0:
        yield start
        start += 1
