"""The gateway's own paths, and what each is for. Pure."""

from __future__ import annotations

PREFIX = "/api/proxy/"
"""What stands before the upstream's path in the target of a proxied call."""

READY = "/ready"
"""The path that tells whether the gateway could open things now."""

_OWN = {"/api/secret": "secret", "/api/env": "env", "/health": "health", READY: "health"}


def is_own(path: str) -> bool:
    """Whether a path is one that the gateway answers by itself."""
    return path in _OWN


def endpoint_of(method: str, path: str) -> str:
    """What a request asks for: "secret", "env", "proxy", "health" or "other"."""
    if path.startswith(PREFIX):
        return "proxy"
    endpoint = _OWN.get(path, "other")
    return endpoint if method == "GET" or (method == "HEAD" and endpoint == "health") else "other"
