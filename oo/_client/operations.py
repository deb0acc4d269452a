"""The operations: each builds a Request. Pure functions, no I/O, the same in both worlds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from .._core.validation import check_seconds, is_number
from .._http.body import Body
from .._http.context import ClientContext, Parser
from .._http.headers import NAME, VALUE, Headers
from .._http.json import JSON, MAX_ANSWER
from .._http.request import Request
from .._http.urls import sent
from .._version import __version__
from ..exceptions import ERROR_OF, AuthenticationError, DoubleOError, Operation
from .answers import (
    AnyStatus,
    parse_answer,
    parse_env,
    parse_health,
    parse_object,
    parse_proxy,
    parse_secret,
    parse_status,
)
from .content import Data, Files, Params, content, with_params

T = TypeVar("T")
_USER_AGENT = ("User-Agent", f"double-o/{__version__}")
_ACCEPT = ("Accept", "application/json")
_PLAIN = Headers([_USER_AGENT, _ACCEPT])
_JSON = Headers([_USER_AGENT, _ACCEPT, ("Content-Type", "application/json")])
_CHAT = "v1/chat/completions"
DEFAULT_TIMEOUT = 30
"""Seconds for an attempt, where the client was told nothing else."""
MODEL_TIMEOUT = 300
"""The same for a model's answer: a picture or a long completion takes its time."""
_LONGEST_METHOD = 32  # characters: a token that was put in its place is longer

# What names the caller and the server, frames the message, or is between us and the next hop (RFC 9110, 7.6.1).
# `Expect` would wait for an interim answer in one of the libraries.
RESERVED_HEADERS = frozenset(
    "authorization connection content-length expect host keep-alive proxy-authorization proxy-connection te trailer "
    "transfer-encoding upgrade".split()
)


class RequestFactory:
    """Makes a client's requests: its base URL, seconds for an attempt, the most bytes of an answer's body."""

    __slots__ = ("base_url", "env", "max_body_bytes", "secret", "timeout")

    def __init__(self, base_url: str, timeout: float, max_body_bytes: int = 64 << 20) -> None:
        self.base_url = base_url
        self.timeout = timeout
        self.max_body_bytes = max_body_bytes
        # Every call's own request is a copy of one of these: a third of the price of a new one.
        self.secret = self._fetching("secret", parse_secret)
        self.env = self._fetching("env", parse_env)

    def _fetching(self, operation: Operation, parse: Parser) -> Request:
        return Request(
            "GET",
            f"{self.base_url}/api/{operation}",
            _PLAIN,
            base_url=self.base_url,
            timeout=self.timeout,
            max_body_bytes=min(MAX_ANSWER, self.max_body_bytes),
            context=ClientContext(operation, parse),
        )


def secret(
    factory: RequestFactory,
    token: str,
    cache_ttl: float | None,
    timeout: float | None = None,
    deadline: float | None = None,
) -> Request:
    """GET /api/secret."""
    return _fetch(factory.secret, token, cache_ttl, timeout, deadline)


def env(
    factory: RequestFactory,
    token: str,
    cache_ttl: float | None,
    timeout: float | None = None,
    deadline: float | None = None,
) -> Request:
    """GET /api/env."""
    return _fetch(factory.env, token, cache_ttl, timeout, deadline)


def health(factory: RequestFactory, timeout: float | None = None, deadline: float | None = None) -> Request:
    """GET /health, without a token."""
    url = f"{factory.base_url}/health"
    context = ClientContext("health", parse_health)
    request = Request("GET", url, _PLAIN, base_url=factory.base_url, timeout=factory.timeout, context=context)
    return _limited(request, timeout, deadline)


def proxy(
    factory: RequestFactory,
    path: str,
    token: str,
    method: str = "POST",
    payload: JSON = None,
    headers: Mapping[str, str] | None = None,
    *,
    data: Data | None = None,
    files: Files | None = None,
    params: Params | None = None,
    timeout: float | None = None,
    deadline: float | None = None,
    parse: Parser | None = None,
    stream_response: bool = False,
) -> Request:
    """METHOD /api/proxy/{path}, with `payload` as its JSON body unless that is None, or `data` and `files`. What the
    answer is becomes `parse`'s to say."""
    _check_token("proxy", token)
    _check_method(method)
    own = _checked_headers(headers)
    place, body, content_type = _checked("proxy", _place_and_content, path, params, payload, data, files, own)
    request = Request(
        method.upper(),
        f"{factory.base_url}/api/proxy/{place}",
        _fields(content_type, headers, "range" in own),
        body,
        base_url=factory.base_url,
        timeout=factory.timeout,
        max_body_bytes=factory.max_body_bytes,
        stream_response=stream_response,
        context=ClientContext("proxy", parse_proxy if parse is None else parse, token),
    )
    return _limited(request, timeout, deadline)


def _fields(content_type: str | None, headers: Mapping[str, str] | None, ranged: bool) -> Headers:
    fields = _JSON if content_type == "application/json" else _PLAIN
    if content_type is not None and fields is _PLAIN:
        fields = fields.replace("Content-Type", content_type)
    for name, value in (headers or {}).items():
        fields = fields.replace(name, value)
    # RFC 9110, 14.2: it would be a range of the compressed bytes.
    return fields.replace("Accept-Encoding", "identity") if ranged else fields


def _limited(request: Request, timeout: float | None, deadline: float | None) -> Request:
    """`request` with the limits of time that were given for this call."""
    if timeout is None and deadline is None:
        return request
    _checked(request.operation, check_seconds, "timeout", timeout, none=True)
    _checked(request.operation, check_seconds, "deadline", deadline, none=True)
    request.context.max_seconds = deadline
    return request if timeout is None else request.replace(timeout=timeout)


def _check_method(method: object) -> None:
    if not isinstance(method, str) or not NAME.fullmatch(method) or len(method) > _LONGEST_METHOD:
        raise _refused("proxy", f"the method must be a name such as 'POST', of at most {_LONGEST_METHOD} characters")
    if method.upper() == "CONNECT":
        # It names a host instead of a path (RFC 9112, 3.2.3), and one of the libraries would send it so.
        raise _refused("proxy", "CONNECT is no method of an API")


def _place_and_content(
    path: object,
    params: Params | None,
    payload: JSON,
    data: Data | None,
    files: Files | None,
    own: Mapping[str, str],
) -> tuple[str, bytes | Body | None, str | None]:
    if not isinstance(path, str):
        raise ValueError(f"the path must be a string, not {type(path).__name__}")
    place = sent(path if params is None else with_params(path, params))
    return place, *content(payload, data, files, own.get("content-type"))


def _checked(operation: Operation, check: Callable[..., T], *args: Any, **more: Any) -> T:
    """What `check` gives; its ValueError becomes the operation's refusal, and not its context."""
    try:
        return check(*args, **more)
    except ValueError as error:
        why = str(error)
    raise _refused(operation, why)


def stream(
    factory: RequestFactory,
    path: str,
    token: str,
    method: str = "POST",
    payload: JSON = None,
    headers: Mapping[str, str] | None = None,
    **more: Any,
) -> Request:
    """As `proxy`, its answer left to be read as it comes."""
    if headers is None or isinstance(headers, Mapping):
        headers = {"Accept": "*/*", **(headers or {})}
    return proxy(factory, path, token, method, payload, headers, parse=parse_status, stream_response=True, **more)


def send(
    factory: RequestFactory,
    path: str,
    token: str,
    method: str = "POST",
    payload: JSON = None,
    headers: Mapping[str, str] | None = None,
    *,
    check: bool = True,
    **more: Any,
) -> Request:
    """As `proxy`, its answer read for the status alone, and without `check` not even for that."""
    parse = parse_answer if check else AnyStatus()
    return proxy(factory, path, token, method, payload, headers, parse=parse, **more)


def chat(
    factory: RequestFactory, token: str, messages: Sequence[Mapping[str, Any]], model: str, extra: Any, **limits: Any
) -> Request:
    """A chat completion, in OpenAI's shape."""
    return _openai(factory, _CHAT, token, {"model": model, "messages": messages, **extra}, **limits)


def chat_stream(
    factory: RequestFactory, token: str, messages: Sequence[Mapping[str, Any]], model: str, extra: Any, **limits: Any
) -> Request:
    """A chat completion that comes in chunks, as server-sent events."""
    payload = {"model": model, "messages": messages, **extra, "stream": True}
    accept = {"Accept": "text/event-stream"}
    return _openai(factory, _CHAT, token, payload, accept, parse=parse_status, stream_response=True, **limits)


def embed(factory: RequestFactory, token: str, texts: Sequence[str], model: str, extra: Any, **limits: Any) -> Request:
    """Embeddings, in OpenAI's shape."""
    return _openai(factory, "v1/embeddings", token, {"model": model, "input": texts, **extra}, **limits)


def image(
    factory: RequestFactory, token: str, prompt: str, model: str, n: int, size: str, extra: Any, **limits: Any
) -> Request:
    """Generated images, in OpenAI's shape."""
    payload = {"model": model, "prompt": prompt, "n": n, "size": size, **extra}
    return _openai(factory, "v1/images/generations", token, payload, **limits)


def check_cache_ttl(operation: Operation, cache_ttl: object) -> None:
    """The operation's error where `cache_ttl` is no number of seconds, 0 or more."""
    if cache_ttl is None or (is_number(cache_ttl) and cache_ttl >= 0):
        return
    raise _refused(operation, "cache_ttl must be a number of seconds, 0 or more, or None")


def _fetch(
    template: Request, token: str, cache_ttl: float | None, timeout: float | None, deadline: float | None
) -> Request:
    operation, parse = template.context.operation, template.context.parse
    _check_token(operation, token)
    if cache_ttl is not None:
        check_cache_ttl(operation, cache_ttl)
    request = template.with_context(ClientContext(operation, parse, token, cache_ttl))
    return request if timeout is None is deadline else _limited(request, timeout, deadline)


def _openai(
    factory: RequestFactory,
    path: str,
    token: str,
    payload: dict[str, Any],
    headers: Mapping[str, str] | None = None,
    *,
    timeout: float | None = None,
    parse: Parser | None = None,
    **more: Any,
) -> Request:
    if timeout is None and factory.timeout == DEFAULT_TIMEOUT:
        timeout = MODEL_TIMEOUT
    parse = parse_object if parse is None else parse
    return proxy(factory, path, token, "POST", payload, headers, timeout=timeout, parse=parse, **more)


def _check_token(operation: Operation, token: object) -> None:
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


def _refused(operation: Operation, what: str) -> DoubleOError:
    return ERROR_OF[operation](f"this {operation} call was refused before it was sent: {what}", reason="argument")


def _checked_headers(headers: Mapping[str, str] | None) -> Mapping[str, str]:
    """The caller's own headers, by their names in small letters."""
    if headers is None:
        return {}
    if not isinstance(headers, Mapping):
        raise _refused("proxy", f"headers must be a mapping of names to strings, not {type(headers).__name__}")
    for name, value in headers.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise _refused("proxy", "a header's name and value must both be strings")
        if not NAME.fullmatch(name) or not VALUE.fullmatch(value) or value != value.strip():
            raise _refused("proxy", "a header's name or value holds a character that no header has")
        if name.lower() in RESERVED_HEADERS:
            raise _refused("proxy", f"the header {name} is the library's own to send")
    return {name.lower(): value for name, value in headers.items()}
