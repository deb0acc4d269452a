"""The gateway's own paths, and what each is for. Pure."""

from __future__ import annotations

PREFIX = "/api/proxy/"
"""What stands before the upstream's path in the target of a proxied call."""

READY = "/ready"
"""The path that tells whether the gateway could open things now."""

AUTHORITY = "/ca.pem"
"""The path of what a token's holder has to trust to use the gateway as its forward proxy."""

_OWN = {AUTHORITY: "authority", "/api/secret": "secret", "/api/env": "env", "/health": "health", READY: "health"}


def is_own(path: str) -> bool:
    """Whether a path is one that the gateway answers by itself."""
    return path in _OWN


def with_slash(target: str) -> str:
    """A target as it is meant: an SDK whose base URL is /api/proxy calls that itself without the slash behind it."""
    path, mark, query = target.partition("?")
    return f"{PREFIX}{mark}{query}" if f"{path}/" == PREFIX else target


def endpoint_of(method: str, path: str) -> str:
    """What a request asks for: "secret", "env", "proxy", "health", "authority" or "other"."""
    if path.startswith(PREFIX):
        return "proxy"
    endpoint = _OWN.get(path, "other")
    return endpoint if method == "GET" or (method == "HEAD" and endpoint == "health") else "other"
