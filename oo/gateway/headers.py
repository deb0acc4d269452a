"""Which headers pass the gateway, up and back."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from .._http.headers import Headers
from .._http.request import Request
from .._http.response import Response
from .context import GatewayContext
from .models import Route

# RFC 9110, 7.6.1, with what older agents send.
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
# Whose they are: the caller's identity and address, the framing and encoding of one hop, and what would have the
# upstream take the request for another than the route allowed.
STRIPPED_REQUEST = HOP_BY_HOP | {
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
    "x-original-host",
    "x-original-url",
    "x-real-ip",
    "x-rewrite-url",
}
_FORWARDED = "x-forwarded-"
STRIPPED_RESPONSE = HOP_BY_HOP | {"content-encoding", "content-length", "date", "server", "set-cookie", "x-request-id"}
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def upstream_request(
    route: Route, method: str, path: str, headers: Iterable[tuple[str, str]], body: bytes | None
) -> Request:
    """A caller's request as it goes to the route's upstream. `path` is what followed /api/proxy/, already checked."""
    pairs = tuple(headers)
    dropped = _named_by_connection(pairs) | {_plain(name) for name in route.inject}
    base = route.upstream.rstrip("/")
    passed = [
        (name, _sendable(value))
        for name, value in pairs
        if (plain := _plain(name)) not in STRIPPED_REQUEST and plain not in dropped and not plain.startswith(_FORWARDED)
    ]
    return Request(
        method,
        f"{base}/{path}",
        Headers(passed),
        body,
        base_url=base,
        timeout=route.timeout,
        stream_response=True,
        context=GatewayContext(route),
    )


def caller_headers(response: Response) -> list[tuple[str, str]]:
    """What of an upstream's headers a caller gets."""
    pairs = response.headers.pairs()
    dropped = STRIPPED_RESPONSE | _named_by_connection(pairs)
    if response.request.method == "HEAD" and "Content-Encoding" not in response.headers:
        dropped = dropped - {"content-length"}  # it tells of the body that a GET would have
    return [(name, _sendable(value)) for name, value in pairs if _plain(name) not in dropped]


def _named_by_connection(pairs: Iterable[tuple[str, str]]) -> set[str]:
    return {
        _plain(option.strip()) for name, value in pairs if _plain(name) == "connection" for option in value.split(",")
    }


@lru_cache(512)  # most calls have the names of another
def _plain(name: str) -> str:
    # CGI and WSGI take X_Key for X-Key (RFC 3875, 4.1.18).
    return name.lower().replace("_", "-")


def _sendable(value: str) -> str:
    """A header's value as aiohttp can write it: bytes that are no UTF-8 are Latin-1 (RFC 9110, 5.5)."""
    if value.isascii() and value.isprintable():
        return value
    try:
        value.encode()
    except UnicodeEncodeError:
        value = value.encode("utf-8", "surrogateescape").decode("latin-1")
    return _CONTROL.sub(" ", value)
