"""A Request: one call on its way down."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from ..exceptions import Operation
from .headers import NO_HEADERS, Headers

if TYPE_CHECKING:
    from .response import Response

CacheKey: TypeAlias = tuple[str, str, str]
"""Operation, base URL and token: what two calls must share to share an answer."""

Parser: TypeAlias = Callable[["Response"], Any]
"""Turns an answer into the operation's value, or raises what is wrong with it."""

TOKEN = re.compile("oo_[A-Za-z0-9_-]{16,}")
"""What looks like a gateway's token, wherever it was given by mistake."""


class Request:
    """One call on its way down. Never changed: `replace` and `with_header` give a new one.

    `url` is absolute and `base_url` its beginning. `timeout` (seconds) bounds one attempt; `deadline` (an instant
    of the pipeline's monotonic clock, or None) bounds the whole call. `cache_ttl` (seconds) is None where the
    caller asked for no caching. `extensions` is one dict that follows the call, up to its Response. A body may hold
    at most `max_body_bytes` once decompressed. With `stream_response` the answer's body is left to be read as it
    comes. `parse` turns the answer into the call's value.
    """

    __slots__ = (
        "base_url",
        "body",
        "cache_ttl",
        "deadline",
        "extensions",
        "headers",
        "max_body_bytes",
        "method",
        "operation",
        "parse",
        "stream_response",
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
        parse: Parser,
        base_url: str = "",
        token: str = "",
        timeout: float = 30.0,
        deadline: float | None = None,
        cache_ttl: float | None = None,
        max_body_bytes: int = 64 << 20,
        stream_response: bool = False,
        extensions: dict[str, Any] | None = None,
    ) -> None:
        self.method = method
        self.url = url
        self.headers = NO_HEADERS if headers is None else headers
        self.body = body
        self.operation = operation
        self.parse = parse
        self.base_url = base_url
        self.token = token
        self.timeout = timeout
        self.deadline = deadline
        self.cache_ttl = cache_ttl
        self.max_body_bytes = max_body_bytes
        self.stream_response = stream_response
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

    def for_call(self, token: str, cache_ttl: float | None) -> Request:
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
        other.parse = self.parse
        other.base_url = self.base_url
        other.token = self.token
        other.timeout = self.timeout
        other.deadline = self.deadline
        other.cache_ttl = self.cache_ttl
        other.max_body_bytes = self.max_body_bytes
        other.stream_response = self.stream_response
        other.extensions = self.extensions
        return other

    def __repr__(self) -> str:
        return f"<Request {self.operation}: {self.method} {self.path}>"
