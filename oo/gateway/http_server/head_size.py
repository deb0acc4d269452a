"""How large a request's head may be. It is counted as it comes, before anything is made of it."""

from __future__ import annotations

from ..._http.headers import NAME

MAX_HEAD = 32 << 10
"""Bytes that the head of a request may hold in all."""
MAX_URL = 16 << 10
"""Bytes that its URL may hold."""

URL_TOO_LONG = 414
HEAD_TOO_LARGE = 431
UNKNOWN_METHOD = 501  # RFC 9110, 15.6.2


class HeadSize:
    """Counts the head that is coming."""

    __slots__ = ("_head",)

    def __init__(self) -> None:
        self._head = bytearray()

    @property
    def is_empty(self) -> bool:
        """Whether nothing of a head has come."""
        return not self._head

    @property
    def target(self) -> str:
        """What has come of the request's target."""
        return _target(self._head).decode("latin-1")

    @property
    def names_method(self) -> bool:
        """Whether what has come begins as a request of HTTP/1 does, whatever its method is called."""
        method, *rest = self._head.partition(b"\n")[0].decode("latin-1").split(" ")
        return bool(NAME.fullmatch(method)) and len(rest) == 2 and rest[1].startswith("HTTP/1.")

    def add(self, data: bytes) -> tuple[int, int | None]:
        """Take more of a head. Returns how many bytes of `data` are its own, the others being what follows it; and the
        status that refuses it, if it is too large."""
        if not data:
            return 0, None
        if self._head.endswith(b"\r\n\r\n"):
            self.end()  # the parser has it, and has not told of it yet
        before, blank = len(self._head), 0
        if not before:
            own = data.lstrip(b"\r\n")  # RFC 9112, 2.2
            data, blank = own, len(data) - len(own)
        self._head += data
        end = self._head.find(b"\r\n\r\n", max(0, before - 3))
        if end >= 0:
            del self._head[end + 4 :]
        status = None if len(self._head) <= MAX_URL else refusal(self._head)
        return blank + len(self._head) - before, status

    def end(self) -> None:
        """Begin anew: the head has come whole."""
        if self._head:
            self._head = bytearray()


def refusal(head: bytes | bytearray) -> int | None:
    """The status that refuses a head, or a part of one: 414, 431, or None."""
    if len(_target(head)) > MAX_URL:
        return URL_TOO_LONG
    return HEAD_TOO_LARGE if len(head) > MAX_HEAD else None


def _target(head: bytes | bytearray) -> bytes:
    _, _, rest = bytes(head).partition(b"\n")[0].partition(b" ")
    return rest.partition(b" ")[0].rstrip(b"\r")
