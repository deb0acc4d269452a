"""The operations that fetch: a secret, an environment, the server's health. What each asks, and what its answer means.
And how any operation is performed.

The same in both worlds, and without I/O of its own. The proxied calls stand in `proxied.py`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

from .._core.errors import answer_error, buffer_if_error, check_status, to_call_error, with_operation
from .._core.io import IO
from .._core.pipeline import Pipeline, Transport, no_response
from .._core.validation import check_seconds, is_number
from .._http.context import Context, Parser
from .._http.headers import Headers
from .._http.request import MAX_BODY_BYTES, Request
from .._http.response import JSON, MAX_ANSWER, UNPARSED, Response
from .._plugins import name_plugin
from .._version import __version__
from ..exceptions import ERROR_OF, AuthenticationError, DoubleOError, Operation

T = TypeVar("T")
USER_AGENT = ("User-Agent", f"double-o/{__version__}")
ACCEPT = ("Accept", "application/json")
PLAIN = Headers([USER_AGENT, ACCEPT])
"""The headers of a request without a body."""
DEFAULT_TIMEOUT = 30
"""Seconds for an attempt, where the client was told nothing else."""


class ClientContext(Context):
    """A client's call: with its `token`, its `cache_ttl` (seconds, or None for no caching), and `parse`, which turns
    the answer into the call's value."""

    def __init__(self, operation: Operation, parse: Parser, token: str = "", cache_ttl: float | None = None) -> None:
        self.timeline = []
        self.operation = operation
        self.parse = parse
        self.token = token
        self.cache_ttl = cache_ttl


class RequestFactory:
    """Makes a client's requests: its base URL, seconds for an attempt, the most bytes of an answer's body."""

    __slots__ = ("base_url", "env", "max_body_bytes", "secret", "timeout")

    def __init__(self, base_url: str, timeout: float, max_body_bytes: int = MAX_BODY_BYTES) -> None:
        self.base_url = base_url
        self.timeout = timeout
        self.max_body_bytes = max_body_bytes
        # Each call copies one of these, which costs a third of making a request.
        self.secret = self._fetching("secret", parse_secret)
        self.env = self._fetching("env", parse_env)

    def _fetching(self, operation: Operation, parse: Parser) -> Request:
        return Request(
            "GET",
            f"{self.base_url}/api/{operation}",
            PLAIN,
            base_url=self.base_url,
            timeout=self.timeout,
            max_body_bytes=min(MAX_ANSWER, self.max_body_bytes),
            context=ClientContext(operation, parse),
        )


def fetch(
    template: Request,
    token: str,
    cache_ttl: float | None = None,
    timeout: float | None = None,
    deadline: float | None = None,
) -> Request:
    """GET /api/secret or /api/env: a copy of the factory's `secret` or `env`, for this call."""
    operation, parse = template.context.operation, template.context.parse
    check_token(operation, token)
    if cache_ttl is not None:
        check_cache_ttl(operation, cache_ttl)
    request = template.with_context(ClientContext(operation, parse, token, cache_ttl))
    return request if timeout is None is deadline else limited(request, timeout, deadline)


def health(factory: RequestFactory, timeout: float | None = None, deadline: float | None = None) -> Request:
    """GET /health, without a token."""
    url = f"{factory.base_url}/health"
    context = ClientContext("health", parse_health)
    request = Request("GET", url, PLAIN, base_url=factory.base_url, timeout=factory.timeout, context=context)
    return limited(request, timeout, deadline)


class Gate:
    """The end of a client's chain: its transport, until the client is `closed`. After that it refuses every request,
    also a retry of a call under way."""

    __slots__ = ("_send", "closed", "io")

    def __init__(self, transport: Transport, io: IO) -> None:
        self._send: Callable[[Request], Coroutine[Any, Any, Response]] = transport.send
        self.io = io
        self.closed = False

    def __call__(self, request: Request) -> Awaitable[Response]:
        return self._send(request)

    def close(self) -> None:
        """Let nothing more through."""
        self._send, self.closed = _refused, True


async def _refused(_request: Request) -> Response:
    raise DoubleOError("the client was closed during the call", reason="closed")


async def perform(pipeline: Pipeline, gate: Gate, deadline: float | None, request: Request) -> Response:
    """The whole call, the same for both clients. Returns the parsed answer, or raises the operation's error."""
    context = request.context
    if gate.closed:
        raise ERROR_OF[context.operation]("this client is closed; make a new one", reason="closed")
    context.started = now = pipeline.io.now()
    seconds = deadline if context.max_seconds is None else context.max_seconds
    if seconds is not None:
        request = request.replace(deadline=now + seconds)
    try:
        response = await pipeline.handle(request)
        if not isinstance(response, Response):
            raise no_response(response, pipeline)
        if response.stream is not None:
            response = await buffer_if_error(response)
        if response.value is UNPARSED:  # a chain of the caller's own, without ErrorMapping
            response.parse()
        return response
    except Exception as error:
        failure = to_call_error(error, request)
        name_plugin(failure or error, error.__traceback__, pipeline)
        if failure is None:
            raise
        if (answer := _unchecked_answer(request, failure)) is not None:
            return answer
    try:
        raise failure
    finally:
        del failure  # as ErrorMapping does


def parse_secret(response: Response) -> str:
    """The value of `{"value": "..."}`."""
    value = _member(response, "value")
    if not isinstance(value, str) or not _is_text(value):
        raise _protocol_error(response, "the secret's value is not a string of whole characters")
    return value


def parse_env(response: Response) -> Mapping[str, str]:
    """The variables of `{"secrets": {"NAME": "value"}}`, read-only: the answer may be stored for others."""
    values = _member(response, "secrets")
    if not isinstance(values, dict):
        raise _protocol_error(response, "the environment's variables are not an object")
    if not all(isinstance(value, str) and _is_text(value) and _is_text(name) for name, value in values.items()):
        raise _protocol_error(response, "an environment variable is not a string of whole characters")
    return MappingProxyType(values)


def parse_health(response: Response) -> bool:
    """True for any 2xx."""
    check_status(response)
    return True


def parse_answer(response: Response) -> None:
    """Nothing, for any 2xx, and for a 304, which answers a conditional request (RFC 9110, 15.4.5)."""
    if response.status != 304:
        check_status(response)


class AnyStatus:
    """Parses as `parse_answer` does, so that a failed call is retried, and keeps the last answer for the caller."""

    def __init__(self) -> None:
        self.answer: Response | None = None

    def __call__(self, response: Response) -> None:
        """Keep the answer; raise where its status is no success."""
        self.answer = response
        parse_answer(response)
        self.answer = None


def _unchecked_answer(request: Request, failure: DoubleOError) -> Response | None:
    """The answer that `failure` is about, if the call accepts any status; else None."""
    parse = request.context.parse
    return parse.answer if isinstance(parse, AnyStatus) and failure.reason == "status" else None


def check_cache_ttl(operation: Operation, cache_ttl: object) -> None:
    """The operation's error unless `cache_ttl` is None or a number of seconds, 0 or more."""
    if cache_ttl is None or (is_number(cache_ttl) and cache_ttl >= 0):
        return
    raise refused(operation, "cache_ttl must be a number of seconds, 0 or more, or None")


def limited(request: Request, timeout: float | None, deadline: float | None) -> Request:
    """`request` with the limits of time that were given for this call."""
    if timeout is None and deadline is None:
        return request
    checked(request.operation, check_seconds, "timeout", timeout, none=True)
    checked(request.operation, check_seconds, "deadline", deadline, none=True)
    request.context.max_seconds = deadline
    return request if timeout is None else request.replace(timeout=timeout)


def checked(operation: Operation, check: Callable[..., T], *args: Any, **more: Any) -> T:
    """What `check` returns. Its ValueError becomes the operation's error, and is not the context of it."""
    try:
        return check(*args, **more)
    except ValueError as error:
        why = str(error)
    raise refused(operation, why)


def check_token(operation: Operation, token: object) -> None:
    # One header field value and nothing else (RFC 9110, 5.5, less the white space).
    if isinstance(token, str) and token.isascii() and token.isprintable() and " " not in token and token:
        return
    if not isinstance(token, str):
        what = f"it is {type(token).__name__}, not str"
    elif not token:
        what = "it is empty"
    else:
        what = "it holds a character that no token has (white space, a control character or non-ASCII)"
    raise AuthenticationError(
        f"the token for this {operation} call was refused before it was sent: {what}", reason="token"
    )


def refused(operation: Operation, what: str) -> DoubleOError:
    return ERROR_OF[operation](f"this {operation} call was refused before it was sent: {what}", reason="argument")


def object_of(response: Response) -> dict[str, Any]:
    if not 200 <= response.status < 300:
        check_status(response)
    data = json_of(response)
    if not isinstance(data, dict):
        raise _protocol_error(response, "the answer is not a JSON object")
    return data


def json_of(response: Response) -> JSON:
    try:
        return response.json()
    except DoubleOError as error:
        what = str(error)
    raise _protocol_error(response, what)


def _member(response: Response, name: str) -> JSON:
    data = object_of(response)
    if name in data:
        return data[name]
    if "error" in data:
        raise answer_error(response, data["error"])
    raise _protocol_error(response, f"the answer holds neither {name!r} nor 'error'")


def _protocol_error(response: Response, what: str) -> DoubleOError:
    return with_operation(DoubleOError(what, reason="protocol", status=response.status), response.request)


def _is_text(value: str) -> bool:
    # JSON can spell half a surrogate pair, which no file, header or environment can hold (RFC 8259, 8.2).
    return value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value)
