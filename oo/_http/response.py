"""A Response: one answer on its way up."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Protocol

from ..exceptions import ERROR_OF, DoubleOError
from .headers import NO_HEADERS, Headers
from .json import JSON, parse_json

if TYPE_CHECKING:
    from .request import Request

_UNREAD: Any = object()


_REPLACEABLE = frozenset({"status", "headers", "body", "stream", "request", "extensions"})


class ByteStream(Protocol):
    """A body that is read as it comes: decoded bytes, in pieces of any size."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        """The pieces, once. DoubleOError where the body breaks off, stalls or passes the deadline."""

    async def aclose(self) -> None:
        """Leave the rest."""


class Response:
    """One answer on its way up: `status`, `headers`, `body` (bytes, decompressed), `request`, `extensions`.

    Where the request asked for it, `stream` is the body as it comes and `body` is empty; a middleware may put an async
    generator over `response.stream` in its place. `extensions` is the request's own dict. The library writes `attempts`
    (requests sent), `from_cache` and `stale` (True where it is so), and `timeline`.
    """

    __slots__ = ("_bottom", "_json", "body", "extensions", "headers", "request", "status", "stream", "value")

    def __init__(
        self,
        status: int,
        headers: Headers | None = None,
        body: bytes = b"",
        *,
        request: Request,
        stream: ByteStream | None = None,
        extensions: dict[str, Any] | None = None,
    ) -> None:
        self.status = status
        self.headers = NO_HEADERS if headers is None else headers
        self.body = body
        self.stream = self._bottom = stream
        self.request = request
        self.extensions = request.extensions if extensions is None else extensions
        self._json = _UNREAD
        self.value: Any = _UNREAD
        """The operation's value, once `parse` has been called: what is stored has been."""

    @property
    def request_id(self) -> str | None:
        """The server's `X-Request-Id`."""
        return self.headers.get("X-Request-Id")

    @property
    def timeline(self) -> list[tuple[str | int, float]]:
        """What happened when: `("attempt", seconds since the call began)`, then its status or the reason it failed."""
        found: list[tuple[str | int, float]] = self.extensions.get("timeline", [])
        return found

    async def buffered(self) -> Response:
        """This answer with its stream read to the end, into `body`; DoubleOError past the request's limit."""
        if self.stream is None:
            return self
        parts, size = [], 0
        async for part in self.stream:
            parts.append(part)
            size += len(part)
            if size > self.request.max_body_bytes:
                await self.stream.aclose()
                raise DoubleOError(f"the answer is larger than {self.request.max_body_bytes} bytes", reason="size")
        return self.replace(body=b"".join(parts), stream=None)

    def json(self) -> JSON:
        """The body as strict JSON (RFC 8259, UTF-8), parsed once; the operation's error where it is none."""
        if self._json is _UNREAD:
            try:
                self._json = parse_json(self.body)
            except DoubleOError as error:
                error.status, error.attempts = self.status, self.extensions.get("attempts", 0)
                failure = error.become(ERROR_OF[self.request.operation])
            else:
                return self._json
            raise failure
        return self._json

    def parse(self) -> Any:
        """The operation's value, read once; the operation's error where the answer holds none."""
        if self.value is _UNREAD:
            self.value = self.request.parse(self)
        return self.value

    def abort(self) -> bool:
        """Close the connection of a stream that was not read to its end; whether it was one."""
        abort = getattr(self._bottom, "abort", None)
        return bool(abort is not None and abort())

    def replace(self, **changes: Any) -> Response:
        """This answer with some of status, headers, body, stream, request, extensions changed. What was read is
        forgotten where the body or the status changes."""
        other = Response.__new__(Response)
        other.status = self.status
        other.headers = self.headers
        other.body = self.body
        other.stream = self.stream
        other.request = self.request
        other.extensions = self.extensions
        other._bottom = self._bottom
        other._json, other.value = self._json, self.value
        for name, value in changes.items():
            if name not in _REPLACEABLE:
                raise TypeError(f"a Response has no {name!r} to replace; it has {', '.join(sorted(_REPLACEABLE))}")
            setattr(other, name, value)
        if "body" in changes or "status" in changes:
            other._json = other.value = _UNREAD
        return other

    def __repr__(self) -> str:
        return f"<Response {self.status} to {self.request!r}>"
