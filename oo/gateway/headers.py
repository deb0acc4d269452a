"""Which headers are forwarded to the upstream, and which back to the caller."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable
from functools import lru_cache

from .._core.errors import SOURCE
from .._http.body import Body
from .._http.headers import Headers
from .._http.request import Request
from .._http.response import Response
from .context import GatewayContext, passes_encoding
from .models import Route

# RFC 9110, 7.6.1, and what older agents send as well.
HOP_BY_HOP = {
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
}
# Never forwarded: caller credentials and address, per-hop framing, headers that override method, host or URL, and what
# has an answer come in a form that the mask cannot read (RFC 3229; another charset).
STRIPPED_REQUEST = HOP_BY_HOP | {
    "a-im",
    "accept-charset",
    "accept-encoding",
    "api-key",
    "apikey",
    "authorization",
    "content-length",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "via",
    "x-access-token",
    "x-api-key",
    "x-auth-token",
    "x-goog-api-key",
    "x-host",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-oo-request-id",
    "x-original-host",
    "x-original-url",
    "x-real-ip",
    "x-rewrite-url",
}
_FORWARDED = "x-forwarded-"
OWN_ID = "X-OO-Request-Id"
"""The header of the gateway's own name of a call."""
STRIPPED_RESPONSE = HOP_BY_HOP | {
    "content-encoding",
    "content-length",
    "date",
    "server",
    "set-cookie",
    "x-oo-request-id",
    "x-oo-source",
}
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def upstream_request(
    route: Route,
    method: str,
    path: str,
    headers: Iterable[tuple[str, str]],
    body: bytes | Body | None,
    context: GatewayContext,
) -> Request:
    """Make the request to the route's upstream. `path` is what followed /api/proxy/, already checked."""
    context.route = route
    pairs = tuple(headers)
    dropped = _named_by_connection(pairs) | {_plain(name) for name in route.inject}
    base = route.upstream.rstrip("/")
    passed = [
        (name, _sendable(value))
        for name, value in pairs
        if (plain := _plain(name)) not in dropped
        and (route.passes(plain) or (plain not in STRIPPED_REQUEST and not plain.startswith(_FORWARDED)))
    ]
    if codings := _codings(route, pairs, {_plain(name) for name, _ in passed}):
        passed = [pair for pair in passed if _plain(pair[0]) != "accept-encoding"]
        passed.append(("Accept-Encoding", codings))
    return Request(
        method,
        f"{base}/{path}",
        Headers(passed),
        body,
        base_url=base,
        timeout=route.timeout,
        stream_response=True,
        context=context,
    )


def _codings(route: Route, pairs: Iterable[tuple[str, str]], passed: Container[str]) -> str:
    """What the upstream may encode its answer in; "" for what the transport undoes."""
    if "range" in passed:  # RFC 9110, 14.2: it would be a range of the compressed bytes
        return "identity"
    if route.inject:
        return ""
    # The answer is passed on in its coding, so the caller says in which.
    return ", ".join(_sendable(value) for name, value in pairs if _plain(name) == "accept-encoding") or "identity"


def caller_headers(response: Response) -> list[tuple[str, str]]:
    """The upstream's headers that are forwarded to the caller."""
    pairs = response.headers.pairs()
    dropped = STRIPPED_RESPONSE | _named_by_connection(pairs)
    if response.request.method == "HEAD" and "Content-Encoding" not in response.headers:
        dropped = dropped - {"content-length"}  # the length of the body that a GET would get
    if passes_encoding(response.request):
        dropped = dropped - {"content-encoding"}
    passed = [(name, _sendable(value)) for name, value in pairs if _plain(name) not in dropped]
    return [*passed, (SOURCE, "upstream")]


def _named_by_connection(pairs: Iterable[tuple[str, str]]) -> set[str]:
    return {
        _plain(option.strip()) for name, value in pairs if _plain(name) == "connection" for option in value.split(",")
    }


@lru_cache(512)  # most calls use the same names
def _plain(name: str) -> str:
    # CGI and WSGI read X_Key and X-Key as the same header (RFC 3875, 4.1.18).
    return name.lower().replace("_", "-")


def _sendable(value: str) -> str:
    """A header value that aiohttp can write. Bytes that are not UTF-8 are read as Latin-1 (RFC 9110, 5.5), and control
    characters become spaces."""
    if value.isascii() and value.isprintable():
        return value
    try:
        value.encode()
    except UnicodeEncodeError:
        value = value.encode("utf-8", "surrogateescape").decode("latin-1")
    return _CONTROL.sub(" ", value)
