"""A Response: one answer on its way up, and the JSON in it, read strictly (RFC 8259)."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any, TypeAlias

from ..exceptions import ERROR_OF, DoubleOError
from .body import Body, Outcome
from .context import Context, TimelineEntry
from .headers import NO_HEADERS, Headers
from .request import Request

ByteStream: TypeAlias = Body | AsyncGenerator[bytes, None]
"""A body that is read as it comes: decoded bytes, in pieces of any size. DoubleOError where it breaks off."""

JSON: TypeAlias = Any
"""What a JSON text holds: dict, list, str, int, float, bool or None."""

MAX_ANSWER = 1 << 20
"""The most bytes that a client accepts as the answer to get_secret and get_env."""

UNPARSED: Any = object()
"""The `value` of an answer that was not parsed yet."""

_REPLACEABLE = frozenset({"status", "headers", "body", "stream", "request"})


class Response:
    """One answer on its way up.

    If the request asked for a stream, `stream` is the body as it comes and `body` is empty. A middleware may
    replace `stream` by an async generator or a `Body` that reads the old one.

    Attributes:
        status: the HTTP status.
        headers: the header fields.
        body: the body's bytes, decompressed.
        stream: the body as it comes, or None.
        request: the request that was sent.
        value: the operation's value, once `parse` was called.
    """

    __slots__ = ("_json", "_source", "body", "headers", "request", "status", "stream", "value")

    def __init__(
        self,
        status: int,
        headers: Headers | None = None,
        body: bytes = b"",
        *,
        request: Request,
        stream: ByteStream | None = None,
    ) -> None:
        self.status = status
        self.headers = NO_HEADERS if headers is None else headers
        self.body = body
        self.stream = self._source = stream
        self.request = request
        self._json = UNPARSED
        self.value: Any = UNPARSED

    @property
    def context(self) -> Context:
        """What the steps of this call share."""
        return self.request.context

    @property
    def request_id(self) -> str | None:
        """The server's `X-Request-Id`."""
        return self.headers.get("X-Request-Id")

    @property
    def timeline(self) -> Sequence[TimelineEntry]:
        """What happened when: `("attempt", seconds since the call began)`, then its status or the reason it failed."""
        return self.request.context.timeline

    def on_end(self, callback: Callable[[Outcome], None]) -> Response:
        """Call `callback(outcome)` once, when the body ends; at once if the body is bytes. Returns this answer, or
        a copy of it whose stream is watched."""
        if self.stream is None:
            callback("complete")
            return self
        body = self.stream if isinstance(self.stream, Body) else Body(self.stream, abort=self.abort)
        body.on_end(callback)
        return self if body is self.stream else self.replace(stream=body)

    async def buffered(self) -> Response:
        """This answer with its stream read to the end, into `body`; DoubleOError past the request's limit."""
        if self.stream is None:
            return self
        parts, size, limit = [], 0, self.request.max_body_bytes
        async for part in self.stream:
            parts.append(part)
            size += len(part)
            if size > limit:
                await self.stream.aclose()
                raise too_large(limit)
        return self.replace(body=b"".join(parts), stream=None)

    def json(self) -> JSON:
        """The body as strict JSON (RFC 8259, UTF-8), parsed once. Raises the operation's error if it is not JSON."""
        if self._json is UNPARSED:
            try:
                self._json = parse_json(self.body)
            except DoubleOError as error:
                error.status, error.attempts = self.status, self.request.context.attempts
                failure = error.become(ERROR_OF[self.request.operation])
            else:
                return self._json
            try:
                raise failure
            finally:
                del failure  # as ErrorMapping does
        return self._json

    def parse(self) -> Any:
        """The operation's value, parsed once. Raises the operation's error if the answer holds none."""
        if self.value is UNPARSED:
            self.value = self.request.context.parse(self)
        return self.value

    def abort(self) -> bool:
        """Close the connection of a stream that was not read to its end. Returns whether it was one. What hangs on the
        end of a Body around it is told."""
        was_open = isinstance(self.stream, Body) and self.stream.abort()
        abort = getattr(self._source, "abort", None)
        return bool(abort is not None and abort()) or was_open

    def replace(self, **changes: Any) -> Response:
        """This answer with some of status, headers, body, stream and request changed; TypeError for another name. What
        was parsed is forgotten where the body or the status changes."""
        other = Response.__new__(Response)
        other.status, other.headers, other.body = self.status, self.headers, self.body
        other.request, other.stream, other._source = self.request, self.stream, self._source
        other._json, other.value = self._json, self.value
        if not _REPLACEABLE.issuperset(changes):
            name = next(name for name in changes if name not in _REPLACEABLE)
            raise TypeError(f"a Response has no {name!r} to replace; it has {', '.join(sorted(_REPLACEABLE))}")
        for name, value in changes.items():
            setattr(other, name, value)
        if "body" in changes or "status" in changes:
            other._json = other.value = UNPARSED
        return other

    def __repr__(self) -> str:
        return f"<Response {self.status} to {self.request!r}>"


def too_large(limit: int) -> DoubleOError:
    """The error for a body of more than `limit` bytes."""
    return DoubleOError(f"the answer is larger than {limit} bytes", reason="size")


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


# RFC 8259 has no NaN and no Infinity; Python's parser takes both unless it is told.
_decode = json.JSONDecoder(parse_constant=_refuse_constant).raw_decode
_SPACE = " \t\n\r"
_BOM = "\ufeff"


def parse_json(body: bytes) -> JSON:
    """Parse strict JSON from UTF-8 bytes. DoubleOError (reason "protocol") if it is not JSON; the error never shows
    the bytes."""
    try:
        text = str(body, "utf-8").removeprefix(_BOM).strip(_SPACE)  # RFC 8259, 8.1: a parser may ignore a BOM
        data, end = _decode(text)
        if end == len(text):
            return data
    except (ValueError, RecursionError):
        pass
    # Raised out here, because json's and the codec's errors carry the whole body and would become the context.
    what = "an empty body" if not body.strip() else "a body that is not JSON"
    raise DoubleOError(f"the server answered with {what}", reason="protocol")
