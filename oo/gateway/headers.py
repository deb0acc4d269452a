"""Which headers are forwarded to the upstream, and which back to the caller."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from .._core.errors import SOURCE
from .._http.body import Body
from .._http.headers import Headers
from .._http.request import Request
from .._http.response import Response
from .context import GatewayContext, passes_encoding
from .header_rules import HOP_BY_HOP, plain
from .models import Route

OWN_ID = "X-OO-Request-Id"
"""The header of the gateway's own name of a call."""
# Besides a hop's own: what the gateway says itself, and what a browser would keep for the gateway's whole origin.
STRIPPED_RESPONSE = HOP_BY_HOP | frozenset(
    (
        "access-control-allow-credentials alt-svc clear-site-data content-encoding content-length date expect-ct nel "
        "public-key-pins public-key-pins-report-only report-to reporting-endpoints server set-cookie set-cookie2 "
        "accept-ch critical-ch origin-agent-cluster sec-session-registration secure-session-registration "
        "service-worker-allowed set-login strict-transport-security use-as-dictionary x-oo-request-id x-oo-source"
    ).split()
)
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
    base = route.upstream.rstrip("/")
    return Request(
        method,
        f"{base}/{path}",
        Headers(_passed(route, pairs)),
        body,
        base_url=base,
        timeout=route.timeout,
        stream_response=True,
        context=context,
    )


def _passed(route: Route, pairs: tuple[tuple[str, str], ...]) -> list[tuple[str, str]]:
    """The headers that go up, in their order, repeats kept."""
    verdicts = route.header_rules.judge(tuple([name for name, _ in pairs]))
    passed = [pairs[index] for index in verdicts.passed]
    if verdicts.names_hops:
        passed = _of_no_hop(pairs, passed)
    if not "".join([value for _, value in passed]).isprintable():
        passed = [(name, _sendable(value)) for name, value in passed]
    if verdicts.asks_for_range:  # RFC 9110, 14.2: it would be a range of the compressed bytes
        passed.append(("Accept-Encoding", "identity"))
    elif not route.texts:
        # The answer is passed on in its coding, so the caller says in which.
        codings = [_sendable(pairs[index][1]) for index in verdicts.codings]
        passed.append(("Accept-Encoding", ", ".join(codings) or "identity"))
    return passed


def caller_headers(response: Response) -> list[tuple[str, str]]:
    """The upstream's headers that are forwarded to the caller."""
    pairs = response.headers.pairs()
    dropped = STRIPPED_RESPONSE
    if response.request.method == "HEAD" and "Content-Encoding" not in response.headers:
        dropped = dropped - {"content-length"}  # the length of the body that a GET would get
    if passes_encoding(response.request):
        dropped = dropped - {"content-encoding"}
    passed = [pair for pair in pairs if plain(pair[0]) not in dropped]
    if len(passed) < len(pairs):
        passed = _of_no_hop(pairs, passed)
    if not "".join([value for _, value in passed]).isprintable():
        passed = [(name, _sendable(value)) for name, value in passed]
    return [*passed, (SOURCE, "upstream")]


def _of_no_hop(pairs: Iterable[tuple[str, str]], passed: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The headers without those that a Connection field names (RFC 9110, 7.6.1)."""
    named = frozenset().union(*[_options(value) for name, value in pairs if plain(name) == "connection"])
    return [pair for pair in passed if plain(pair[0]) not in named] if named else passed


@lru_cache(64)
def _options(value: str) -> frozenset[str]:
    return frozenset(plain(option.strip()) for option in value.split(",")) - HOP_BY_HOP - {"close"}


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
