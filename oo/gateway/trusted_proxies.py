"""Which proxies in front of the gateway are believed when they say who called."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from functools import lru_cache

from .errors import StoreError


class TrustedProxies:
    """The addresses and networks of proxies whose X-Forwarded-For counts. StoreError for what is neither."""

    def __init__(self, named: Sequence[str] = ()) -> None:
        self._networks = [_network(text) for text in named]

    def __bool__(self) -> bool:
        return bool(self._networks)

    def caller(self, peer: str | None, fields: Sequence[str]) -> str | None:
        """The last address of X-Forwarded-For that is no trusted proxy's, if `peer` is a trusted proxy's.

        What stands before it was written by whoever called, and is not believed. None if there is no such address.
        """
        if not fields or peer is None or not self._trusts(_address(peer)):
            return None
        for hop in reversed(",".join(fields).split(",")):
            address = _address(hop)
            if address is None:
                return None
            if not self._trusts(address):
                return str(address)
        return None

    def _trusts(self, address: ipaddress.IPv4Address | ipaddress.IPv6Address | None) -> bool:
        return address is not None and any(address in network for network in self._networks)


@lru_cache(1024)
def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address of a hop: bare, in brackets, or with a port, as some proxies write it."""
    text = text.strip()[:64]
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)  # ::ffff:10.0.0.1, where a socket takes both families
    return mapped or address


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(text.strip("[]"), strict=False)
    except ValueError:
        raise StoreError(f"a trusted proxy is an address or a network, such as 10.0.0.0/8, not {text!r}") from None
