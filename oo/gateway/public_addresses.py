"""Which addresses are on the internet: a list of our own, since that of `ipaddress` changes with the Python."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

# IANA's registry of special-purpose addresses (RFC 6890), but for those that it calls globally reachable.
_SPECIAL = [
    ip_network(each)
    for each in (
        "0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24 "
        "192.88.99.0/24 192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 240.0.0.0/4 "
        "2001::/23 2001:db8::/32 3fff::/20 "
        # Multicast (RFC 5771).
        "224.0.0.0/4"
    ).split()
]
_REACHABLE = [
    ip_network(each)
    for each in (
        "192.0.0.9/32 192.0.0.10/32 "  # anycast of PCP and TURN (RFC 7723, RFC 8155)
        "2001:1::1/128 2001:1::2/128 2001:1::3/128 2001:3::/32 2001:4:112::/48 2001:20::/28 2001:30::/28"
    ).split()
]
# What IANA gives out of IPv6 (RFC 4291, 2.4): all else is local, multicast or nobody's.
_UNICAST = ip_network("2000::/3")
_NAT64 = ip_network("64:ff9b::/96")  # RFC 6052


def is_public(address: str) -> bool:
    """Whether an address is one of a single machine on the internet, as IANA has it; ValueError for no address."""
    return _is_public(ip_address(address.partition("%")[0]))


def _is_public(ip: IPv4Address | IPv6Address) -> bool:
    if isinstance(ip, IPv6Address):
        # An embedded IPv4 address: mapped (RFC 4291, 2.5.5.2), 6to4 (RFC 3056), NAT64.
        inner = IPv4Address(int(ip) & 0xFFFFFFFF) if ip in _NAT64 else ip.ipv4_mapped or ip.sixtofour
        if inner is not None:
            return _is_public(inner)
        if ip not in _UNICAST:
            return False
    if not any(ip in network for network in _SPECIAL):
        return True
    return any(ip in network for network in _REACHABLE)
