"""The operations: each builds a Request and reads a Response. Pure functions, no I/O, the same in both worlds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from .._core.errors import answer_error, check_status, with_operation
from .._core.validation import is_number
from .._http.headers import NAME, VALUE, Headers
from .._http.json import JSON, MAX_ANSWER
from .._http.request import Parser, Request
from .._http.response import Response
from .._http.urls import sent
from .._version import __version__
from ..exceptions import ERROR_OF, AuthenticationError, DoubleOError, Operation

_USER_AGENT = ("User-Agent", f"double-o/{__version__}")
_ACCEPT = ("Accept", "application/json")
_PLAIN = Headers([_USER_AGENT, _ACCEPT])
_JSON = Headers([_USER_AGENT, _ACCEPT, ("Content-Type", "application/json")])
_CHAT = "v1/chat/completions"
_LONGEST_METHOD = 32  # characters: a token that was put in its place is longer

# What names the caller and the server, frames the message, or is between us and the next hop (RFC 9110, 7.6.1).
# `Expect` would wait for an interim answer in one of the libraries.
RESERVED_HEADERS = frozenset(
    "authorization connection content-length expect host keep-alive proxy-authorization proxy-connection te trailer "
    "transfer-encoding upgrade".split()
)


class RequestFactory:
    """Where and how a client calls: the base URL, seconds for an attempt, seconds for a call or None, bytes of a
    body."""

    __slots__ = ("base_url", "deadline", "env", "max_body_bytes", "secret", "timeout")

    def __init__(self, base_url: str, timeout: float, deadline: float | None, max_body_bytes: int = 64 << 20) -> None:
        self.base_url = base_url
        self.timeout = timeout
        self.deadline = deadline
        self.max_body_bytes = max_body_bytes
        # Every call's own request is a copy of one of these: a third of the price of a new one.
        self.secret = self._fetching("secret", parse_secret)
        self.env = self._fetching("env", parse_env)

    def _fetching(self, operation: Operation, parse: Parser) -> Request:
        return Request(
            "GET",
            f"{self.base_url}/api/{operation}",
            _PLAIN,
            operation=operation,
            parse=parse,
            base_url=self.base_url,
            timeout=self.timeout,
            max_body_bytes=min(MAX_ANSWER, self.max_body_bytes),
        )


def secret(factory: RequestFactory, token: str, cache_ttl: float | None) -> Request:
    """GET /api/secret."""
    return _fetch(factory.secret, token, cache_ttl)


def env(factory: RequestFactory, token: str, cache_ttl: float | None) -> Request:
    """GET /api/env."""
    return _fetch(factory.env, token, cache_ttl)


def health(factory: RequestFactory) -> Request:
    """GET /health, without a token."""
    url = f"{factory.base_url}/health"
    return Request(
        "GET", url, _PLAIN, operation="health", parse=parse_health, base_url=factory.base_url, timeout=factory.timeout
    )


def proxy(
    factory: RequestFactory,
    path: str,
    token: str,
    method: str = "POST",
    payload: JSON = None,
    headers: Mapping[str, str] | None = None,
) -> Request:
    """METHOD /api/proxy/{path}, with `payload` as its JSON body unless that is None."""
    _check_token("proxy", token)
    if not isinstance(method, str) or not NAME.fullmatch(method) or len(method) > _LONGEST_METHOD:
        raise _refused("proxy", f"the method must be a name such as 'POST', of at most {_LONGEST_METHOD} characters")
    if method.upper() == "CONNECT":
        # It names a host instead of a path (RFC 9112, 3.2.3), and one of the libraries would send it so.
        raise _refused("proxy", "CONNECT is no method of an API")
    if not isinstance(path, str):
        raise _refused("proxy", f"the path must be a string, not {type(path).__name__}")
    try:
        place = sent(path)
    except ValueError as error:
        raise _refused("proxy", str(error)) from None
    fields = _PLAIN if payload is None else _JSON
    for name, value in _checked_headers(headers):
        fields = fields.replace(name, value)
    return Request(
        method.upper(),
        f"{factory.base_url}/api/proxy/{place}",
        fields,
        None if payload is None else _encoded(payload),
        operation="proxy",
        parse=parse_proxy,
        base_url=factory.base_url,
        token=token,
        timeout=factory.timeout,
        max_body_bytes=factory.max_body_bytes,
    )


def stream(
    factory: RequestFactory,
    path: str,
    token: str,
    method: str = "POST",
    payload: JSON = None,
    headers: Mapping[str, str] | None = None,
) -> Request:
    """As `proxy`, its answer left to be read as it comes."""
    request = proxy(factory, path, token, method, payload, {"Accept": "*/*"} if headers is None else headers)
    request.stream_response = True
    request.parse = parse_status
    return request


def send(
    factory: RequestFactory,
    path: str,
    token: str,
    method: str = "POST",
    payload: JSON = None,
    headers: Mapping[str, str] | None = None,
) -> Request:
    """As `proxy`, its answer read for the status alone."""
    request = proxy(factory, path, token, method, payload, headers)
    request.parse = parse_status
    return request


def chat(factory: RequestFactory, token: str, messages: Sequence[Mapping[str, Any]], model: str, extra: Any) -> Request:
    """A chat completion, in OpenAI's shape."""
    return _openai(factory, _CHAT, token, {"model": model, "messages": messages, **extra})


def chat_stream(
    factory: RequestFactory, token: str, messages: Sequence[Mapping[str, Any]], model: str, extra: Any
) -> Request:
    """A chat completion that comes in chunks, as server-sent events."""
    payload = {"model": model, "messages": messages, **extra, "stream": True}
    return stream(factory, _CHAT, token, payload=payload, headers={"Accept": "text/event-stream"})


def embed(factory: RequestFactory, token: str, texts: Sequence[str], model: str, extra: Any) -> Request:
    """Embeddings, in OpenAI's shape."""
    return _openai(factory, "v1/embeddings", token, {"model": model, "input": texts, **extra})


def image(factory: RequestFactory, token: str, prompt: str, model: str, n: int, size: str, extra: Any) -> Request:
    """Generated images, in OpenAI's shape."""
    payload = {"model": model, "prompt": prompt, "n": n, "size": size, **extra}
    return _openai(factory, "v1/images/generations", token, payload)


def parse_secret(response: Response) -> str:
    """The value of `{"value": "..."}`."""
    value = _member(response, "value")
    if not isinstance(value, str) or not _is_text(value):
        raise _nonsense(response, "the secret's value is not a string of whole characters")
    return value


def parse_env(response: Response) -> Mapping[str, str]:
    """The variables of `{"secrets": {"NAME": "value"}}`, read-only: the answer may be stored for others."""
    values = _member(response, "secrets")
    if not isinstance(values, dict):
        raise _nonsense(response, "the environment's variables are not an object")
    if not all(isinstance(value, str) and _is_text(value) and _is_text(name) for name, value in values.items()):
        raise _nonsense(response, "an environment variable is not a string of whole characters")
    return MappingProxyType(values)


def parse_proxy(response: Response) -> JSON:
    """The API's own JSON; None where the API says that there is none."""
    check_status(response)
    # RFC 9110, 15.3.5 and 15.3.6, and 9.3.2: these have no content.
    if not response.body and (response.status in (204, 205) or response.request.method == "HEAD"):
        return None
    return _json(response)


def parse_object(response: Response) -> dict[str, Any]:
    """The API's own JSON object."""
    return _object(response)


def parse_status(response: Response) -> None:
    """Nothing, for any 2xx: the body is the caller's to read."""
    check_status(response)


def parse_health(response: Response) -> bool:
    """True for any 2xx."""
    check_status(response)
    return True


def check_cache_ttl(operation: Operation, cache_ttl: object) -> None:
    """The operation's error where `cache_ttl` is no number of seconds, 0 or more."""
    if cache_ttl is None or (is_number(cache_ttl) and cache_ttl >= 0):
        return
    raise _refused(operation, "cache_ttl must be a number of seconds, 0 or more, or None")


def _fetch(template: Request, token: str, cache_ttl: float | None) -> Request:
    _check_token(template.operation, token)
    if cache_ttl is not None:
        check_cache_ttl(template.operation, cache_ttl)
    return template.for_call(token, cache_ttl)


def _openai(factory: RequestFactory, path: str, token: str, payload: dict[str, Any]) -> Request:
    request = proxy(factory, path, token, payload=payload)
    request.parse = parse_object
    return request


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


def _checked_headers(headers: Mapping[str, str] | None) -> Sequence[tuple[str, str]]:
    if headers is None:
        return ()
    if not isinstance(headers, Mapping):
        raise _refused("proxy", f"headers must be a mapping of names to strings, not {type(headers).__name__}")
    for name, value in headers.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise _refused("proxy", "a header's name and value must both be strings")
        if not NAME.fullmatch(name) or not VALUE.fullmatch(value) or value != value.strip():
            raise _refused("proxy", "a header's name or value holds a character that no header has")
        if name.lower() in RESERVED_HEADERS:
            raise _refused("proxy", f"the header {name} is the library's own to send")
    return tuple(headers.items())


def _encoded(payload: JSON) -> bytes:
    try:
        return json.dumps(payload, allow_nan=False, separators=(",", ":")).encode("ascii")
    except TypeError:
        why = "it holds an object of a foreign type"
    except RecursionError:
        why = "it is nested too deeply"
    except ValueError as error:
        said = str(error)
        why = "it holds itself" if "Circular" in said else "it holds NaN, an infinity or a number of too many digits"
    # Out here: json's errors quote the payload.
    raise _refused("proxy", f"the payload is not JSON: {why}")


def _member(response: Response, name: str) -> JSON:
    data = _object(response)
    if name in data:
        return data[name]
    if "error" in data:
        raise answer_error(response, data["error"])
    raise _nonsense(response, f"the answer holds neither {name!r} nor 'error'")


def _object(response: Response) -> dict[str, Any]:
    if not 200 <= response.status < 300:
        check_status(response)
    data = _json(response)
    if not isinstance(data, dict):
        raise _nonsense(response, "the answer is not a JSON object")
    return data


def _json(response: Response) -> JSON:
    try:
        return response.json()
    except DoubleOError as error:
        what = str(error)
    raise _nonsense(response, what)


def _nonsense(response: Response, what: str) -> DoubleOError:
    return with_operation(DoubleOError(what, reason="protocol", status=response.status), response.request)


def _is_text(value: str) -> bool:
    # JSON can spell half a surrogate pair, which no file, header or environment can hold (RFC 8259, 8.2).
    return value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value)
