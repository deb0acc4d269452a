"""Masking by value: a token or secret that a server sends back never reaches a text that leaves the process.

A value is looked for as it is and in base64, in the text as it stands and with the escapes of JSON, of URLs and of HTML
undone: encoders differ in what they escape and in how, and each of their spellings is the value.

What a stream holds back depends on the text and on the class and length of the values, never on the values themselves:
whoever sees the ends of pieces learns nothing from them.
"""

from __future__ import annotations

import base64
import binascii
import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from .._http.response import JSON
from .escapes import CLASSES, ESCAPED, UnescapedView, boundary

MASK = "***"
SHORTEST = 8
"""Characters of the shortest value that is masked: shorter ones are words, and a guess at one would be answered."""
STEP = 32 << 10
"""Bytes to mask between two turns of an event loop."""
_DENSE = 4  # times as long as plain text takes what is dense with escapes
_SHORT = STEP // _DENSE
_BEGINNING = 12  # characters of a value by which its beginning is known; less than that tells nothing of it
_UNFINISHED = 10  # bytes of an escape, or of base64, that were not all there when a text was cut


class _Value(NamedTuple):
    """What is looked for on account of one value: its forms, its class, the bytes that a spelling has at most."""

    forms: tuple[bytes, ...]
    kind: int
    reach: int


class _Masked:
    """How many values this process has masked."""

    count = 0


MASKED = _Masked()


class Mask:
    """Replaces each of some values by ***, in plain and base64, however JSON, a URL or HTML would escape it. Values of
    fewer than 8 characters are left alone."""

    def __init__(self, values: Iterable[str]) -> None:
        self._take([_value(value) for value in values if len(value) >= SHORTEST])

    @classmethod
    def _of(cls, values: list[_Value]) -> Mask:
        mask = cls(())
        mask._take(values)
        return mask

    def _take(self, values: list[_Value]) -> None:
        self._forms = list(dict.fromkeys(form for value in values for form in value.forms))
        self._class = CLASSES[max((value.kind for value in values), default=0)]
        self._reach = max((value.reach for value in values), default=0)
        self.size = (1 << 10) + sum(map(len, self._forms))
        """Bytes of memory that it takes, about."""

    def text(self, text: str) -> str:
        """`text`, masked."""
        data = text.encode("utf-8", "surrogatepass")
        masked = self.data(data)
        return text if masked is data else masked.decode("utf-8", "surrogatepass")

    def data(self, data: bytes) -> bytes:
        """UTF-8 bytes, masked."""
        spans = self.spans(data)
        return _masked(data, spans, 0, len(data))[0] if spans else data

    def head(self, data: bytes, size: int) -> bytes:
        """The first `size` UTF-8 bytes, masked; a value that begins in them is too, wherever it ends."""
        data = data[: size + self._reach]
        return _masked(data, self.spans(data), 0, size)[0]

    def spans(self, data: bytes) -> list[tuple[int, int]]:
        """Where in UTF-8 bytes the values stand, in the order of their beginnings; they may overlap."""
        # `find`, since CPython's `in` raises an error and drops it before it looks for bytes in bytes.
        found = [(at, at + len(form)) for form in self._forms if data.find(form) >= 0 for at in _all(form, data)]
        syntaxes = [each for each in self._class.syntaxes if data.find(each.mark) >= 0]
        for syntax in [*syntaxes, self._class.together] if len(syntaxes) > 1 else syntaxes:
            view = UnescapedView(data, syntax)
            for form in self._forms:
                if form in view.data:
                    found += [view.span(at, at + len(form)) for at in _all(form, view.data)]
        return sorted(found)

    def stable_length(self, data: bytes) -> int:
        """How many bytes at the beginning of `data` are masked alike, whatever follows. It leaves out the last
        characters that a spelling of a value may contain, at most as many as a spelling can have."""
        if not self._forms:
            return len(data)
        tail = data[-self._reach :]
        cut = len(data) - len(tail) + len(tail.rstrip(self._class.spelled))
        return boundary(data, cut) if cut == len(data) - len(tail) else cut

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
        values = iter(masked)
        return _changed(data, lambda _: next(values))


class StreamMask:
    """Masks a stream of UTF-8 bytes whose pieces may cut a value in two. It holds back the last characters of each
    piece if a value of the masked ones' class and length could begin in them."""

    def __init__(self, mask: Mask) -> None:
        self._mask = mask
        self._rest = b""
        self._done = 0  # bytes at the beginning of the rest for which a *** has gone on already

    def feed(self, piece: bytes) -> bytes:
        """The bytes that can go on, of what was held back and of this piece: often all, sometimes none."""
        data = self._rest + piece if self._rest else piece
        return self._go_on(data, self._mask.stable_length(data))

    def finish(self) -> bytes:
        """What was held back."""
        return self._go_on(self._rest, len(self._rest))

    def _go_on(self, data: bytes, cut: int) -> bytes:
        if not cut:
            self._rest = data
            return b""
        masked, end = _masked(data, self._mask.spans(data), self._done, cut)
        self._rest, self._done = data[cut:], end - cut
        return masked


def cut_off(data: bytes, value: str) -> bytes:
    """UTF-8 bytes, without the beginning of a value that their end cuts: an answer that is as long as its connection
    does not show where it was to end.

    It is for the caller's own token. A caller who may choose `value` would learn from it how another's begins.
    """
    if Mask([value[:_BEGINNING]]).spans(data):
        for length in range(len(value) - 1, _BEGINNING - 1, -1):
            for start, end in Mask([value[:length]]).spans(data):
                if end >= len(data) - _UNFINISHED:
                    return data[:start] + MASK.encode()
    return data


def steps_of(data: bytes) -> Iterator[bytes]:
    """`data` in pieces of at most 32 KiB, 8 KiB where it is dense with escapes: a loop has a turn between them."""
    at = 0
    while True:
        step = data[at : at + STEP]
        if weight_of(step) > STEP:
            step = step[:_SHORT]
        yield step
        at += len(step)
        if at >= len(data):
            return


def weight_of(data: bytes) -> int:
    """How many bytes of plain text take as long to mask: more than it has, where a text is dense with escapes."""
    if len(data) <= _SHORT:  # which is one step in any case
        return len(data)
    escapes = data.count(b"%") + data.count(b"\\") + data.count(b"&")
    return len(data) * _DENSE if escapes > len(data) >> 3 else len(data)


class SeenValues:
    """Remembers the secret values that were sent or fetched, to mask them in later errors: the last `most` to 2 x
    `most` of them, fewer if they take more than `size` bytes."""

    def __init__(self, most: int = 256, size: int = 1 << 20) -> None:
        self._most = most
        self._size = size // 2
        # Two generations instead of an order that every call would renew under a lock.
        self.recent: dict[str, _Value] = {}
        """The values added last. One that is in here need not be added again."""
        self._old: dict[str, _Value] = {}
        self._bytes = 0  # of the young
        self._made: tuple[dict[str, _Value], int, Mask] | None = None

    def add(self, value: str) -> None:
        """Remember a value, unless it alone takes more than half of `size`."""
        if value in self.recent or len(value) < SHORTEST:
            return
        kept = _value(value)
        size = len(value) + sum(map(len, kept.forms))
        if size > self._size:
            return
        if self._bytes + size > self._size or len(self.recent) >= self._most:
            self._old, self.recent, self._bytes = self.recent, {}, 0
        self.recent[value] = kept
        self._bytes += size

    def mask(self) -> Mask:
        """The Mask of all of them."""
        young, made = self.recent, self._made
        if made is None or made[0] is not young or made[1] != len(young):
            known = list(young.values())
            self._made = made = (young, len(known), Mask._of([*self._old.values(), *known]))
        return made[2]


seen_values = SeenValues()  # the values that this process has sent or fetched


def basic_values(header: str) -> list[str]:
    """What is to be masked of a header's value that is Basic credentials (RFC 7617, 2): user and password, the password
    with its colon and without; the user where there is no password. Nothing of any other."""
    scheme, _, coded = header.partition(" ")
    if scheme.lower() != "basic":
        return []
    try:
        raw = base64.b64decode(coded.strip().rstrip("=") + "==", "-_" if re.search("[-_]", coded) else "+/")
    except (binascii.Error, ValueError):
        return []
    try:
        whole = raw.decode()
    except UnicodeDecodeError:
        whole = raw.decode("latin-1")
    user, _, password = whole.partition(":")
    return [whole, ":" + password, password or user]


def _changed(data: JSON, change: Callable[[str], str]) -> JSON:
    if isinstance(data, str):
        return change(data)
    if isinstance(data, list):
        return [_changed(value, change) for value in data]
    if isinstance(data, dict):
        return {change(key): _changed(value, change) for key, value in data.items()}
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
            MASKED.count += 1
        start = max(start, end)
    return b"".join([*parts, data[start:stop]]), max(start, stop)


def _value(value: str) -> _Value:
    raw = value.encode("utf-8", "surrogatepass")
    kind = next(n for n, each in enumerate(CLASSES) if not raw.translate(None, each.characters))
    # In base64 it has 4 characters for 3 bytes, and may share the outermost with its neighbours.
    reach = ESCAPED * 4 * (len(value) * CLASSES[kind].width // 3 + 2) + 32
    return _Value(tuple(dict.fromkeys(_forms(raw))), kind, reach)


def _forms(raw: bytes) -> Iterator[bytes]:
    yield raw
    yield raw.replace(b" ", b"+")  # as forms have it
    # Inside a longer base64 text the value may start at any of three offsets; the outer characters mix with its
    # neighbours, so only the inner ones are the value's own.
    for offset in range(3):
        padded = base64.b64encode(b"\0" * offset + raw)
        inner = padded[(0, 2, 3)[offset] : len(padded) - (0, 3, 2)[(offset + len(raw)) % 3]]
        yield inner
        yield inner.replace(b"+", b"-").replace(b"/", b"_")


def _all(part: bytes, data: bytes, start: int = 0) -> Iterator[int]:
    while (start := data.find(part, start)) >= 0:
        yield start
        start += 1
