"""Unix sockets: a socket's path as the host of an http URL, which every library below passes on as it is."""

from __future__ import annotations

from .._http.urls import UNIX, socket_path

# No name server's host holds a '!', nor does a base URL.
_PREFIX = "unix!"

HOST = "localhost"
"""What the Host field says where there is no host."""


def as_http(url: str) -> str:
    """A URL with a host in the place of a Unix socket's path, for `socket_of` to read; any other as it is."""
    path = socket_path(url)
    if path is None:
        return url
    _, _, rest = url.removeprefix(UNIX).partition("/")
    return f"http://{_PREFIX}{path.encode().hex()}/{rest}"


def socket_of(host: str) -> str | None:
    """The path of the Unix socket that a host of `as_http` stands for; None for any other host."""
    return bytes.fromhex(host.removeprefix(_PREFIX)).decode() if host.startswith(_PREFIX) else None
