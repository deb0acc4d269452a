"""Request, Response and their headers: what travels down a chain, and what comes up."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol, TypeAlias

from ..exceptions import ERROR_OF, DoubleOError, Operation

JSON: TypeAlias = Any
"""What a JSON text holds: dict, list, str, int, float, bool or None."""

CacheKey: TypeAlias = tuple[str, str, str]
"""Operation, base URL and token: what two calls must share to share an answer."""

Reader: TypeAlias = Callable[["Response"], Any]
"""Turns an answer into the operation's value, or raises what is wrong with it."""

NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""What a header's or a method's name is made of (RFC 9110, 5.6.2)."""

VALUE = re.compile("[\\t -~\\x80-\\ud7ff\\ue000-\\U0010ffff]*")
"""What a header's value is made of (RFC 9110, 5.5): on the wire, what is not ASCII is UTF-8."""

_UNREAD: Any = object()


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


# RFC 8259 has no NaN and no Infinity; Python's parser takes both unless it is told.
_decode = json.JSONDecoder(parse_constant=_refuse_constant).raw_decode
_SPACE = " \t\n\r"

TOKEN = re.compile("oo_[A-Za-z0-9_-]{16,}")
"""What looks like a gateway's token, wherever it was given by mistake."""


class Headers(Mapping[str, str]):
    """Header fields in the order they came. Names compare without case (RFC 9110, 5.1). Immutable."""

    __slots__ = ("_pairs",)

    def __init__(self, pairs: Mapping[str, str] | Iterable[tuple[str, str]] = ()) -> None:
        self._pairs: tuple[tuple[str, str], ...] = tuple(pairs.items() if isinstance(pairs, Mapping) else pairs)

    def __getitem__(self, name: str) -> str:
        values = self.get_all(name)
        if not values:
            raise KeyError(name)
        # A repeated field is one list (RFC 9110, 5.3).
        return ", ".join(values)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name.lower() for name, _ in self._pairs))

    def __len__(self) -> int:
        return len({name.lower() for name, _ in self._pairs})

    def __repr__(self) -> str:
        return f"<Headers {', '.join(self)}>"

    def get_all(self, name: str) -> list[str]:
        """Each value of a field, in order; empty where there is none."""
        wanted = name.lower()
        return [value for field, value in self._pairs if field.lower() == wanted]

    def pairs(self) -> tuple[tuple[str, str], ...]:
        """The fields as they go over the wire: names as written, repeats kept."""
        return self._pairs

    def replace(self, name: str, value: str) -> Headers:
        """These headers with one field set, any earlier value of it gone."""
        wanted, pairs = name.lower(), self._pairs
        for pair in pairs:
            if pair[0].lower() == wanted:
                pairs = tuple(pair for pair in pairs if pair[0].lower() != wanted)
                break
        other = Headers.__new__(Headers)
        other._pairs = (*pairs, (name, value))
        return other


class Request:
    """One call on its way down. Never changed: `replace` and `with_header` give a new one.

    `url` is absolute and `base_url` its beginning. `timeout` (seconds) bounds one attempt; `deadline` (an instant
    of the pipeline's monotonic clock, or None) bounds the whole call. `cache_ttl` (seconds) is None where the
    caller asked for no caching. `extensions` is one dict that follows the call, up to its Response. `limit`
    (bytes) is the most that a body may hold once decompressed. With `stream` the answer's body is left to be read as it
    comes. `read` turns the answer into the call's value.
    """

    __slots__ = (
        "base_url",
        "body",
        "cache_ttl",
        "deadline",
        "extensions",
        "headers",
        "limit",
        "method",
        "operation",
        "read",
        "stream",
        "timeout",
        "token",
        "url",
    )

    def __init__(
        self,
        method: str,
        url: str,
        headers: Headers | None = None,
        body: bytes | None = None,
        *,
        operation: Operation,
        read: Reader,
        base_url: str = "",
        token: str = "",
        timeout: float = 30.0,
        deadline: float | None = None,
        cache_ttl: float | None = None,
        limit: int = 64 << 20,
        stream: bool = False,
        extensions: dict[str, Any] | None = None,
    ) -> None:
        self.method = method
        self.url = url
        self.headers = NO_HEADERS if headers is None else headers
        self.body = body
        self.operation = operation
        self.read = read
        self.base_url = base_url
        self.token = token
        self.timeout = timeout
        self.deadline = deadline
        self.cache_ttl = cache_ttl
        self.limit = limit
        self.stream = stream
        self.extensions = {} if extensions is None else extensions

    @property
    def cache_key(self) -> CacheKey:
        """What an answer to this request is stored under."""
        return (self.operation, self.base_url, self.token)

    @property
    def path(self) -> str:
        """The path below the base URL, without the query: what a log line may show, a token given as a path masked."""
        return TOKEN.sub("oo_***", self.url[len(self.base_url) :].partition("?")[0])

    def with_header(self, name: str, value: str) -> Request:
        """This request with one header set."""
        other = self._copy()
        other.headers = self.headers.replace(name, value)
        return other

    def replace(self, **changes: Any) -> Request:
        """This request with some attributes changed; TypeError for a name that is none."""
        other = self._copy()
        for name, value in changes.items():
            if name not in Request.__slots__:
                raise TypeError(f"a Request has no {name!r}; it has {', '.join(Request.__slots__)}")
            setattr(other, name, value)
        return other

    def renewed(self, token: str, cache_ttl: float | None) -> Request:
        """This request as another call's: with its token and TTL, and extensions of its own."""
        other = self._copy()
        other.token = token
        other.cache_ttl = cache_ttl
        other.extensions = {}
        return other

    def _copy(self) -> Request:
        # Written out, because a loop over the slots costs four times as much and every call passes here.
        other = Request.__new__(Request)
        other.method = self.method
        other.url = self.url
        other.headers = self.headers
        other.body = self.body
        other.operation = self.operation
        other.read = self.read
        other.base_url = self.base_url
        other.token = self.token
        other.timeout = self.timeout
        other.deadline = self.deadline
        other.cache_ttl = self.cache_ttl
        other.limit = self.limit
        other.stream = self.stream
        other.extensions = self.extensions
        return other

    def __repr__(self) -> str:
        return f"<Request {self.operation}: {self.method} {self.path}>"


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
        """The operation's value, once `read` has been called: what is stored has been."""

    @property
    def request_id(self) -> str | None:
        """The server's `X-Request-Id`."""
        return self.headers.get("X-Request-Id")

    @property
    def timeline(self) -> list[tuple[str | int, float]]:
        """What happened when: `("attempt", seconds since the call began)`, then its status or the reason it failed."""
        found: list[tuple[str | int, float]] = self.extensions.get("timeline", [])
        return found

    async def whole(self) -> Response:
        """This answer with its stream read to the end, into `body`; DoubleOError past the request's limit."""
        if self.stream is None:
            return self
        parts, size = [], 0
        async for part in self.stream:
            parts.append(part)
            size += len(part)
            if size > self.request.limit:
                await self.stream.aclose()
                raise DoubleOError(f"the answer is larger than {self.request.limit} bytes", reason="size")
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

    def read(self) -> Any:
        """The operation's value, read once; the operation's error where the answer holds none."""
        if self.value is _UNREAD:
            self.value = self.request.read(self)
        return self.value

    def abandon(self) -> bool:
        """Close the connection of a stream that was not read to its end; whether it was one."""
        abandon = getattr(self._bottom, "abandon", None)
        return bool(abandon is not None and abandon())

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


def parse_json(body: bytes) -> JSON:
    """Strict JSON of UTF-8 bytes. DoubleOError (reason "protocol") where it is none; it never shows the bytes."""
    try:
        text = str(body, "utf-8").strip(_SPACE)
        data, end = _decode(text)
        if end == len(text):
            return data
    except (ValueError, RecursionError):
        pass
    # Raised out here, because json's and the codec's errors carry the whole body and would become the context.
    what = "an empty body" if not body.strip() else "a body that is not JSON"
    raise DoubleOError(f"the server answered with {what}", reason="protocol")


NO_HEADERS = Headers()
"""The headers of a message without any."""
