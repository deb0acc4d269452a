"""Header fields: their grammar, and what holds them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from ..exceptions import DoubleOError

NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""What a header's or a method's name is made of (RFC 9110, 5.6.2)."""

VALUE = re.compile("[\\t -~\\x80-\\ud7ff\\ue000-\\U0010ffff]*")
"""What a header's value is made of (RFC 9110, 5.5): on the wire, what is not ASCII is UTF-8."""

FRAMING = ("Content-Length", "Transfer-Encoding")
"""What says where a body ends. An answer's without either ends with its connection (RFC 9112, 6.3)."""


class Headers(Mapping[str, str]):
    """Header fields in the order they came. Names compare without case (RFC 9110, 5.1). Immutable."""

    __slots__ = ("_lowered", "_pairs")

    def __init__(self, pairs: Mapping[str, str] | Iterable[tuple[str, str]] = ()) -> None:
        # A list is asked for first: whether something is a Mapping takes three times as long.
        if not isinstance(pairs, (list, tuple)) and isinstance(pairs, Mapping):
            pairs = pairs.items()
        self._pairs: tuple[tuple[str, str], ...] = tuple(pairs)
        self._lowered: tuple[str, ...] | None = None

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._names()

    def __getitem__(self, name: str) -> str:
        values = self.get_all(name)
        if not values:
            raise KeyError(name)
        # A repeated field is one list (RFC 9110, 5.3).
        return ", ".join(values)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(self._names()))

    def __len__(self) -> int:
        return len(set(self._names()))

    def __repr__(self) -> str:
        return f"<Headers {', '.join(self)}>"

    if not TYPE_CHECKING:  # to a type checker it is not there

        def __setitem__(self, name: str, value: str) -> None:
            """Say what to do instead: a middleware of another library would set it so."""
            raise TypeError("headers are never changed: request.with_header(name, value) gives a new request")

    def get_all(self, name: str) -> list[str]:
        """The values of a field, in order; empty if there is none."""
        wanted, names = name.lower(), self._names()
        if wanted not in names:
            return []
        if names.count(wanted) == 1:
            return [self._pairs[names.index(wanted)][1]]
        return [value for field, (_, value) in zip(names, self._pairs, strict=True) if field == wanted]

    def pairs(self) -> tuple[tuple[str, str], ...]:
        """The fields as they go over the wire: names as written, repeats kept."""
        return self._pairs

    def replace(self, name: str, value: str) -> Headers:
        """A copy with one field set. Earlier values of that field are gone."""
        wanted, names, pairs = name.lower(), self._names(), self._pairs
        if wanted in names:
            pairs = tuple([pair for field, pair in zip(names, pairs, strict=True) if field != wanted])
        return Headers((*pairs, (name, value)))

    def _names(self) -> tuple[str, ...]:
        # Made when first asked for: most headers are asked for several, or for none.
        if self._lowered is None:
            self._lowered = tuple([name.lower() for name, _ in self._pairs])
        return self._lowered


NO_HEADERS = Headers()
"""The headers of a message without any."""


def validated_headers(headers: Headers) -> Sequence[tuple[str, str]]:
    """The request's header fields, checked. A repeated field takes the first one's spelling. DoubleOError for a
    character that HTTP does not allow, which a middleware may have put in."""
    pairs = headers.pairs()
    if not pairs:
        return ()
    written, values = zip(*pairs, strict=True)
    names, together = _validated_names(written), "".join(values)
    if names is None or not (together.isprintable() or VALUE.fullmatch(together)):
        raise DoubleOError("a header holds a character that no header has", reason="argument")
    return pairs if names == written else tuple(zip(names, values, strict=True))


@lru_cache(256)
def _validated_names(names: tuple[str, ...]) -> tuple[str, ...] | None:
    # Cached: most calls send the same names.
    if not all(map(NAME.fullmatch, names)):
        return None
    first: dict[str, str] = {}
    return tuple(first.setdefault(name.lower(), name) for name in names)


def field_text(value: str, encoding: str = "utf-8") -> str:
    """Correct a header's value that was decoded as `encoding`: UTF-8 if its bytes are UTF-8, else Latin-1 (RFC
    9110, 5.5)."""
    if value.isascii():
        return value
    raw = value.encode(encoding, "surrogateescape")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")
