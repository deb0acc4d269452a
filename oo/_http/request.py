"""A Request: one call on its way down, and how long it may take."""

from __future__ import annotations

import re
from typing import Any

from ..exceptions import DoubleOError, Operation
from .body import Body
from .context import Context
from .headers import NO_HEADERS, Headers

TOKEN = re.compile("oo_[A-Za-z0-9_-]{16,}")
"""Matches a gateway's token, for places where one was given by mistake."""

MAX_BODY_BYTES = 64 << 20
"""The most bytes of an answer's body, unless told."""


def without_tokens(text: str) -> str:
    """A text, with a mark in the place of each token."""
    return TOKEN.sub("oo_***", text)


class Request:
    """One call on its way down. Never changed: `replace` and `with_header` give a new one.

    Attributes:
        method: the HTTP method.
        url: the absolute URL.
        base_url: the beginning of the URL. Replacing it changes `url` too.
        headers: the header fields.
        body: bytes, a Body that flows, or None.
        timeout: seconds for one attempt.
        deadline: when the whole call must be over, on the pipeline's monotonic clock, or None.
        max_body_bytes: the most bytes that the answer's body may have once decompressed.
        stream_response: whether the answer's body is a stream, read by the caller as it comes.
        context: what the steps of this call share. Every copy of the Request has the same object.
    """

    __slots__ = (
        "base_url",
        "body",
        "context",
        "deadline",
        "headers",
        "max_body_bytes",
        "method",
        "stream_response",
        "timeout",
        "url",
    )

    def __init__(
        self,
        method: str,
        url: str,
        headers: Headers | None = None,
        body: bytes | Body | None = None,
        *,
        base_url: str = "",
        timeout: float = 30.0,
        deadline: float | None = None,
        max_body_bytes: int = MAX_BODY_BYTES,
        stream_response: bool = False,
        context: Context | None = None,
    ) -> None:
        self.method, self.url, self.base_url = method, url, base_url
        self.headers = NO_HEADERS if headers is None else headers
        self.body = body
        self.timeout, self.deadline = timeout, deadline
        self.max_body_bytes = max_body_bytes
        self.stream_response = stream_response
        self.context = Context() if context is None else context

    @property
    def operation(self) -> Operation:
        """What the call is for: "secret", "env", "proxy" or "health"."""
        return self.context.operation

    @property
    def path(self) -> str:
        """The path below the base URL, without the query, for log lines. A token in it is masked."""
        return without_tokens(self.url[len(self.base_url) :].partition("?")[0])

    def with_header(self, name: str, value: str) -> Request:
        """This request with one header set."""
        other = self._copy()
        other.headers = self.headers.replace(name, value)
        return other

    def replace(self, **changes: Any) -> Request:
        """This request with some attributes changed; TypeError for a name that is none."""
        other = self._copy()
        if "base_url" in changes and "url" not in changes:
            other.url = changes["base_url"] + self.url[len(self.base_url) :]
        for name, value in changes.items():
            if name not in Request.__slots__:
                raise TypeError(f"a Request has no {name!r}; it has {', '.join(Request.__slots__)}")
            setattr(other, name, value)
        return other

    def with_context(self, context: Context) -> Request:
        """A copy that belongs to another call."""
        other = self._copy()
        other.context = context
        return other

    def _copy(self) -> Request:
        # Written out, because every call passes here and a loop over the slots costs four times as much.
        other = Request.__new__(Request)
        other.method = self.method
        other.url = self.url
        other.headers = self.headers
        other.body = self.body
        other.base_url = self.base_url
        other.timeout = self.timeout
        other.deadline = self.deadline
        other.max_body_bytes = self.max_body_bytes
        other.stream_response = self.stream_response
        other.context = self.context
        return other

    def __repr__(self) -> str:
        return f"<Request {self.operation}: {self.method} {self.path}>"


def limits(request: Request, now: float) -> tuple[float, str]:
    """The instant by which this attempt, or this read of a stream, must be over, and which limit says so;
    DoubleOError where that has passed."""
    until = now + request.timeout
    if request.deadline is None or until < request.deadline:
        return until, "timeout"
    if request.deadline <= now:
        raise timed_out("deadline")
    return request.deadline, "deadline"


def timed_out(limit: str) -> DoubleOError:
    """The error of an attempt that came to the end of its time."""
    if limit == "deadline":
        return DoubleOError("the deadline of the call passed", reason="deadline")
    return DoubleOError("no complete answer in time", reason="timeout", retryable=True)
