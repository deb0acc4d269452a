"""Host names of the tests' own, resolved without a name server."""

from __future__ import annotations

import socket
from typing import Any

import pytest

HOST = "gateway.example"
"""A host that is not this machine by its name, so that a forward proxy is used for it."""


def named(url: str, host: str = HOST) -> str:
    """A server's URL on 127.0.0.1, by a name."""
    return url.replace("127.0.0.1", host)


def resolving(monkeypatch: pytest.MonkeyPatch, hosts: dict[str, list[tuple[str, int] | str]] | None = None) -> None:
    """Have each host resolve to its addresses, an address with a port where the server there has another; HOST to
    127.0.0.1."""
    known = {HOST: ["127.0.0.1"], **(hosts or {})}
    real = socket.getaddrinfo

    def getaddrinfo(host: Any, port: Any, *args: Any, **keywords: Any) -> list[Any]:
        name = host.decode() if isinstance(host, bytes) else host
        if name not in known:
            return real(host, port, *args, **keywords)
        places = [(place, int(port or 0)) if isinstance(place, str) else place for place in known[name]]
        kind = (socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
        return [(socket.AF_INET6 if ":" in place[0] else socket.AF_INET, *kind, place) for place in places]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
