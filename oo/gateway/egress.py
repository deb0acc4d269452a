"""Which addresses a route may lead to: none on a private network, unless the route allows it.

Addresses are checked where names are resolved, so a name that resolves to another address the next time gains nothing.
"""

from __future__ import annotations

import socket
from collections.abc import Collection
from contextlib import suppress
from urllib.parse import urlsplit

from aiohttp import ThreadedResolver
from aiohttp.abc import AbstractResolver, ResolveResult

from .._http.urls import socket_path
from ..exceptions import DoubleOError
from .public_addresses import is_public

_REFUSED = "its address is private, and the route does not allow that (`oo route set --allow-private`)"


class PublicResolver(AbstractResolver):
    """The system's resolver, without the addresses that aren't public. The `proxies` (host and port) may have any
    address: a forward proxy is seldom on the internet. Which upstreams it leads to is for the proxy to limit."""

    def __init__(self, proxies: Collection[tuple[str, int]] = ()) -> None:
        self._proxies = proxies
        self._system = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The public addresses of a host; DoubleOError if it has none."""
        addresses = await self._system.resolve(host, port, family)
        if (host, port) not in self._proxies:
            addresses = [address for address in addresses if is_public(address["host"])]
        if not addresses:
            raise DoubleOError(_REFUSED, reason="argument")
        return addresses

    async def close(self) -> None:
        """Close the system's resolver, which holds nothing."""
        await self._system.close()


def check_literal(url: str) -> None:
    """DoubleOError if a URL's host is itself an address that isn't public, since an address is never resolved."""
    if socket_path(url) is not None:
        raise DoubleOError(_REFUSED, reason="argument")
    host = (urlsplit(url).hostname or "").rstrip(".")
    # The C library reads these as IPv4 addresses too: 127.1, 2130706433, 0x7f.0.0.1, 0177.0.0.1.
    with suppress(OSError):
        host = socket.inet_ntoa(socket.inet_aton(host))
    try:
        public = is_public(host)
    except ValueError:
        return
    if not public:
        raise DoubleOError(_REFUSED, reason="argument")
