"""Where a call of the forward proxy goes, and with which tokens. Pure."""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import urlsplit

from .models import PLACEHOLDER, Route, Upstream
from .token_places import basic_token

MOST_TOKENS = 32
"""Tokens that one credential may hold."""

_AUTHORITY = re.compile(r"(?:\[([0-9A-Fa-f:.]{2,45})\]|([0-9A-Za-z._-]{1,254})):([0-9]{1,5})")
_ABSOLUTE = re.compile(r"(https?)://([^/?#@\\]+)((?:[/?].*)?)", re.IGNORECASE | re.DOTALL)
_PORTS = {"http": 80, "https": 443}


class Destination(NamedTuple):
    """A scheme, a host and a port that a caller names, and the tokens it shows. `tunnelled`: the call came inside of a
    tunnel that these tokens have opened."""

    scheme: str
    host: str
    port: int
    tokens: tuple[str, ...]
    tunnelled: bool = False

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def __repr__(self) -> str:
        return f"Destination({self})"  # tokens are never shown


def authority_of(target: str, port: int | None = None) -> tuple[str, int] | None:
    """The host and the port of `host:port` (RFC 9112, 3.2.3), the host in one spelling; None for what is none. Where it
    names no port, it is `port`."""
    match = _AUTHORITY.fullmatch(target if port is None or _has_port(target) else f"{target}:{port}")
    if match is None or not 1 <= int(match[3]) <= 65535:
        return None
    if match[1] is None:
        host = match[2].lower().removesuffix(".")
        return (host, int(match[3])) if host and ".." not in match[2] and host[0] != "." else None
    try:
        return str(ipaddress.IPv6Address(match[1])), int(match[3])
    except ValueError:
        return None


def absolute_form(target: str) -> tuple[str, str, int, str] | None:
    """The scheme, host, port and path of a target in absolute form (RFC 9112, 3.2.2), or None."""
    match = _ABSOLUTE.fullmatch(target)
    if match is None:
        return None
    scheme, rest = match[1].lower(), match[3]
    place = authority_of(match[2], _PORTS[scheme])
    return None if place is None else (scheme, *place, rest if rest.startswith("/") else f"/{rest}")


def tokens_of(credential: str) -> tuple[str, ...]:
    """The tokens in a Proxy-Authorization: the password of Basic, whoever the user, or what Bearer shows; several are
    joined by commas. None where it holds none, or too many."""
    scheme, _, text = credential.strip().partition(" ")
    text = text.strip()
    if scheme.lower() == "basic":
        text = basic_token(text)
    elif scheme.lower() != "bearer":
        return ()
    tokens = tuple(token for part in text.split(",") if (token := part.strip()))
    return tokens if len(tokens) <= MOST_TOKENS else ()


def upstream_at(route: Route, destination: Destination) -> Upstream | None:
    """The upstream of a route that has a scheme, a host and a port; None where it has none there."""
    wanted = destination[:3]
    for upstream in route.upstreams:
        if (place := _place(upstream.url)) is not None and place[0] == wanted:
            return upstream
    return None


def base_in(upstream: Upstream, path: str) -> str | None:
    """What of a path stands for the path of an upstream, with the slash behind it: what follows is the call's own. None
    where the path leads elsewhere. Where the upstream's has a secret, the caller's may have anything."""
    place = _place(upstream.url)
    match = None if place is None else place[1].match(path)
    return None if match is None else match[0]


def hosts_of(routes: list[Route]) -> list[str]:
    """The hosts of the https upstreams of some routes, each once."""
    places = [_place(upstream.url) for route in routes for upstream in route.upstreams]
    return list(dict.fromkeys(place[0][1] for place in places if place is not None and place[0][0] == "https"))


def _has_port(authority: str) -> bool:
    return re.search(r":[0-9]*\Z", authority.rpartition("]")[2]) is not None


@lru_cache(1024)  # each call of a tunnel asks for it
def _place(url: str) -> tuple[tuple[str, str, int], re.Pattern[str]] | None:
    """An upstream's scheme, host and port, and what its path looks like in a caller's; None for a Unix socket's."""
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not parts.netloc:
        return None
    place = authority_of(parts.netloc, _PORTS[parts.scheme])
    if place is None:
        return None
    first, *rest = PLACEHOLDER.split(parts.path.rstrip("/"))  # texts, and between them a name, or None for a brace
    pattern = re.escape(first)
    for name, text in zip(rest[::2], rest[1::2], strict=True):
        pattern += ("[^/?]*" if name else re.escape("{")) + re.escape(text)
    return (parts.scheme, *place), re.compile(pattern + r"(?:/|(?=\?|\Z))")
