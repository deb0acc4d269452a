"""The proxied calls: what each sends, and what its answer means. Pure functions, no I/O, the same in both worlds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .._core.errors import check_status
from .._http.body import Body
from .._http.context import Parser
from .._http.headers import NAME, VALUE, Headers
from .._http.request import Request
from .._http.response import JSON, Response
from .._http.urls import sent
from .content import Data, Files, Params, content, with_params
from .operations import (
    ACCEPT,
    DEFAULT_TIMEOUT,
    PLAIN,
    USER_AGENT,
    AnyStatus,
    ClientContext,
    RequestFactory,
    check_token,
    checked,
    json_of,
    limited,
    object_of,
    parse_answer,
    refused,
)

_JSON = Headers([USER_AGENT, ACCEPT, ("Content-Type", "application/json")])
_CHAT = "v1/chat/completions"
MODEL_TIMEOUT = 300
"""Seconds for an attempt at a model's answer: a picture or a long completion takes its time."""
_LONGEST_METHOD = 32  # characters: a token given here by mistake is longer

# What names the caller and the server, frames the message, or is between us and the next hop (RFC 9110, 7.6.1).
# `Expect` would wait for an interim answer in one of the libraries.
RESERVED_HEADERS = frozenset(
    "authorization connection content-length expect host keep-alive proxy-authorization proxy-connection te trailer "
    "transfer-encoding upgrade".split()
)


def parse_proxy(response: Response) -> JSON:
    """The API's own JSON; None where it answered without a body."""
    check_status(response)
    return json_of(response) if response.body else None


def parse_object(response: Response) -> dict[str, Any]:
    """The API's own JSON object."""
    return object_of(response)


def parse_status(response: Response) -> None:
    """Nothing, for any 2xx: the body is the caller's to read."""
    check_status(response)


def proxy(
    factory: RequestFactory,
    path: str,
    token: str,
    method: str = "POST",
    payload: JSON = None,
    headers: Mapping[str, str] | None = None,
    *,
    parse: Parser = parse_proxy,
    stream_response: bool = False,
    timeout: float | None = None,
    deadline: float | None = None,
    **more: Any,
) -> Request:
    """METHOD /api/proxy/{path}. `payload` is its JSON body unless it is None; `more` may give `data` or `files` as the
    body, and `params` for the query. `parse` turns the answer into the call's value."""
    check_token("proxy", token)
    _check_method(method)
    own = _checked_headers(headers)
    target, body, content_type = checked("proxy", _target_and_content, path, own, payload, **more)
    request = Request(
        method.upper(),
        f"{factory.base_url}/api/proxy/{target}",
        _fields(content_type, headers, "range" in own),
        body,
        base_url=factory.base_url,
        timeout=factory.timeout,
        max_body_bytes=factory.max_body_bytes,
        stream_response=stream_response,
        context=ClientContext("proxy", parse, token),
    )
    return limited(request, timeout, deadline)


def stream(factory: RequestFactory, *call: Any, headers: Mapping[str, str] | None = None, **more: Any) -> Request:
    """As `proxy`, its answer left to be read as it comes."""
    own = headers is None or isinstance(headers, Mapping)
    more["headers"] = {"Accept": "*/*", **(headers or {})} if own else headers
    return proxy(factory, *call, parse=parse_status, stream_response=True, **more)


def send(factory: RequestFactory, *call: Any, check: bool = True, **more: Any) -> Request:
    """As `proxy`, its answer read for the status alone, and without `check` not even for that."""
    return proxy(factory, *call, parse=parse_answer if check else AnyStatus(), **more)


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


def _openai(
    factory: RequestFactory,
    path: str,
    token: str,
    payload: dict[str, Any],
    headers: Mapping[str, str] | None = None,
    *,
    timeout: float | None = None,
    parse: Parser = parse_object,
    **more: Any,
) -> Request:
    if timeout is None and factory.timeout == DEFAULT_TIMEOUT:
        timeout = MODEL_TIMEOUT
    return proxy(factory, path, token, "POST", payload, headers, timeout=timeout, parse=parse, **more)


def _fields(content_type: str | None, headers: Mapping[str, str] | None, ranged: bool) -> Headers:
    fields = _JSON if content_type == "application/json" else PLAIN
    if content_type is not None and fields is PLAIN:
        fields = fields.replace("Content-Type", content_type)
    for name, value in (headers or {}).items():
        fields = fields.replace(name, value)
    # RFC 9110, 14.2: it would be a range of the compressed bytes.
    return fields.replace("Accept-Encoding", "identity") if ranged else fields


def _check_method(method: object) -> None:
    if not isinstance(method, str) or not NAME.fullmatch(method) or len(method) > _LONGEST_METHOD:
        raise refused("proxy", f"the method must be a name such as 'POST', of at most {_LONGEST_METHOD} characters")
    if method.upper() == "CONNECT":
        # It names a host instead of a path (RFC 9112, 3.2.3), and one of the libraries would send it so.
        raise refused("proxy", "CONNECT is no method of an API")


def _target_and_content(
    path: object,
    own: Mapping[str, str],
    payload: JSON,
    params: Params | None = None,
    files: Files | None = None,
    data: Data | None = None,
) -> tuple[str, bytes | Body | None, str | None]:
    if not isinstance(path, str):
        raise ValueError(f"the path must be a string, not {type(path).__name__}")
    target = sent(path if params is None else with_params(path, params))
    return target, *content(payload, data, files, own.get("content-type"))


def _checked_headers(headers: Mapping[str, str] | None) -> Mapping[str, str]:
    """The caller's own headers, by their names in small letters."""
    if headers is None:
        return {}
    if not isinstance(headers, Mapping):
        raise refused("proxy", f"headers must be a mapping of names to strings, not {type(headers).__name__}")
    for name, value in headers.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise refused("proxy", "a header's name and value must both be strings")
        if not NAME.fullmatch(name) or not VALUE.fullmatch(value) or value != value.strip():
            raise refused("proxy", "a header's name or value holds a character that no header has")
        if name.lower() in RESERVED_HEADERS:
            raise refused("proxy", f"the header {name} is the library's own to send")
    return {name.lower(): value for name, value in headers.items()}
