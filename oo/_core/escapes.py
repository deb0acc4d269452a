"""Escapes of JSON, of URLs and of HTML in UTF-8 bytes: what they stand for, and where in the text it stands.

Escapes are undone by runs, in C wherever a run has more than one, so that a text of nothing else costs little more than
plain text. Whether an escape is one depends on nothing before it, so a text may be cut at any `boundary`.
"""

from __future__ import annotations

import re
from binascii import unhexlify
from bisect import bisect_right
from itertools import accumulate

_HEX = rb"[0-9a-fA-F]"
_UNIT = rb"\\u" + _HEX + b"{4}"
_HIGH = rb"\\u[dD][89abAB]" + _HEX + b"{2}"
_LOW = rb"\\u[dD][c-fC-F]" + _HEX + b"{2}"
_RUN = 64  # times 8 are the most escapes of a run, of which one is found by counting
_LONGEST = 12  # bytes of an escape: a surrogate pair of JSON
_MOST_KNOWN = 4096


class EscapeSyntax:
    """A way of escaping, or several: the byte that begins an escape, and patterns of escapes that one run may hold."""

    def __init__(self, mark: bytes, *patterns: bytes) -> None:
        self.mark = mark
        self.patterns = patterns
        # Eight at a time: a round of a loop costs more than what it looks at.
        runs = [b"%b(?:%b|%b){0,%d}" % (each, each * 8, each, _RUN) for each in (b"(?:%b)" % one for one in patterns)]
        self.runs = re.compile(b"(" + b"|".join(runs) + b")")
        self.escape = re.compile(b"|".join(patterns))

    def __add__(self, other: EscapeSyntax) -> EscapeSyntax:
        return EscapeSyntax(self.mark + other.mark, *self.patterns, *other.patterns)


# RFC 8259, 7: any character may be \u and four digits, and one beyond the first 65,536 is two of these.
_JSON = EscapeSyntax(b"\\", _HIGH + _LOW + b"|" + _UNIT, rb'\\["\\/bfnrt]')
# Those of visible ASCII without quotes and backslashes: ordinary JSON has few, and its many \n are passed over.
_JSON_OF_TOKENS = EscapeSyntax(b"\\", rb"\\u00[2-7]" + _HEX, rb"\\/")
# RFC 3986, 2.1: any byte may be escaped, and the digits have no case.
_URL = EscapeSyntax(b"%", b"%" + _HEX + _HEX)
_HTML = EscapeSyntax(b"&", b"&(?:#[0-9]{1,7}|#[xX]" + _HEX + b"{1,6}|[A-Za-z][A-Za-z0-9]{1,7});")

ESCAPED = 10
"""Bytes that an escape has at most for each byte it stands for, as in `&#0000065;`."""


class CharacterClass:
    """A coarse, public property of values: their bytes, those that their spellings are made of, how many a character
    has at most, and the escapes that may stand for one."""

    def __init__(self, characters: bytes, width: int, json: EscapeSyntax = _JSON, spelled: bytes = b"") -> None:
        self.characters = characters
        self.spelled = spelled or characters
        self.width = width
        self.syntaxes = (json, _URL, _HTML)
        self.together = json + _URL + _HTML  # encoders may follow upon one another


_PRINTABLE = bytes(range(0x20, 0x7F))
_VISIBLE = _PRINTABLE.translate(None, b" \"'`,()<>[]{}")  # without what JSON, HTML and server-sent events end in

CLASSES = (
    CharacterClass(_VISIBLE.translate(None, b"\\"), 1, _JSON_OF_TOKENS, spelled=_VISIBLE),
    CharacterClass(_PRINTABLE, 1),
    CharacterClass(_PRINTABLE + bytes(range(0x80, 0x100)), 4),
    CharacterClass(bytes(range(0x100)), 4),
)
"""Each holds those before it."""

_ANY = CLASSES[-1].together.escape
_HIGH_BEFORE = re.compile(_HIGH + rb"\Z")
_SHORT = bytes.maketrans(b"bfnrt", b"\b\f\n\r\t")


class _Undone(dict[bytes, bytes]):
    """What a run of escapes stands for. Those of one escape are kept, since a look-up is C and undoing one is not."""

    def __missing__(self, run: bytes) -> bytes:
        plain = _undo(run)
        if len(run) <= _LONGEST:
            if len(self) >= _MOST_KNOWN:
                self.clear()
            self[run] = plain
        return plain


_UNDONE = _Undone()


def _undo(run: bytes) -> bytes:
    if run.startswith(b"%"):
        return unhexlify(run.translate(None, b"%"))
    if run.startswith(b"\\u"):
        units = unhexlify(run.translate(None, b"\\u"))
        return units.decode("utf-16-be", "surrogatepass").encode("utf-8", "surrogatepass")
    if run.startswith(b"\\"):
        return run[1::2].translate(_SHORT)
    if run.count(b";") == 1:
        import html  # whose names are most of a MiB

        return html.unescape(run.decode()).encode("utf-8", "surrogatepass") or run  # "" for what is no character
    return b"".join(map(_UNDONE.__getitem__, run.replace(b";", b";\n").split()))


class UnescapedView:
    """`data` with the escapes of a syntax undone, and where in the text each byte of it stands."""

    def __init__(self, data: bytes, syntax: EscapeSyntax) -> None:
        self._syntax = syntax
        # What is plain and what is a run of escapes, by turns.
        self._parts = syntax.runs.split(data)
        undone = self._parts.copy()
        undone[1::2] = map(_UNDONE.__getitem__, undone[1::2])
        self.data = b"".join(undone)
        self._undone = undone
        self._here: list[int] = []
        self._there: list[int] = []

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Where in the text the bytes from `start` to `end` stand, each escape whole."""
        return self._of(start)[0], self._of(end - 1)[1]

    def _of(self, at: int) -> tuple[int, int]:
        if not self._here:
            self._here = [0, *accumulate(map(len, self._undone))]
            self._there = [0, *accumulate(map(len, self._parts))]
        turn = bisect_right(self._here, at) - 1
        here, there = self._here[turn], self._there[turn]
        if not turn % 2:
            return there + at - here, there + at - here + 1
        for escape in self._syntax.escape.finditer(self._parts[turn]):
            here += len(_UNDONE[escape[0]])
            if at < here:
                break
        return there + escape.start(), there + escape.end()


def boundary(data: bytes, cut: int) -> int:
    """The last place up to `cut`, at most 20 bytes before it, that goes through no escape."""
    mark = max(data.rfind(mark_byte, max(0, cut - _LONGEST), cut) for mark_byte in (b"%", b"&", b"\\"))
    escape = _ANY.match(data, mark) if mark >= 0 else None
    if escape is not None and escape.end() > cut:
        cut = mark
    if _HIGH_BEFORE.search(data[max(0, cut - 6) : cut]):
        cut -= 6
    # The last of an odd number of backslashes may begin an escape, the last of an even number ends one.
    return cut - (cut - len(data[:cut].rstrip(b"\\"))) % 2
