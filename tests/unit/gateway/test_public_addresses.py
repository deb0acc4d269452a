from __future__ import annotations

import pytest

from oo.gateway.public_addresses import is_public

# IANA's registries of special-purpose addresses, each row's first address, and its last where it has more than one.
REACHABLE = (
    "192.0.0.9 192.0.0.10 192.31.196.0 192.31.196.255 192.52.193.0 192.175.48.0 192.175.48.255 2001:1::1 2001:1::2 "
    "2001:1::3 2001:3:: 2001:3:ffff::1 2001:4:112:: 2001:20:: 2001:2f:ffff::1 2001:30:: 2001:3f:ffff::1 2620:4f:8000::"
).split()
NOT_REACHABLE = (
    "0.0.0.0 0.255.255.255 10.0.0.0 10.255.255.255 100.64.0.0 100.127.255.255 127.0.0.1 127.255.255.255 169.254.0.0 "
    "169.254.169.254 172.16.0.0 172.31.255.255 192.0.0.0 192.0.0.7 192.0.0.8 192.0.0.11 192.0.0.170 192.0.0.171 "
    "192.0.0.255 192.0.2.0 192.0.2.255 192.88.99.0 192.88.99.1 192.168.0.0 192.168.255.255 198.18.0.0 198.19.255.255 "
    "198.51.100.0 198.51.100.255 203.0.113.0 203.0.113.255 240.0.0.0 255.255.255.254 255.255.255.255 "
    ":: ::1 64:ff9b:1:: 64:ff9b:1:ffff::1 100:: 100::1 100:0:0:1:: 2001:: 2001:0:ffff::1 2001:1:: 2001:1::4 2001:2:: "
    "2001:2:0:ffff::1 2001:4:113:: 2001:10:: 2001:1f:ffff::1 2001:40:: 2001:1ff:ffff::1 2001:db8:: 2001:db8:ffff::1 "
    "3fff:: 3fff:fff:ffff::1 5f00:: 5f00:ffff::1 fc00:: fdff:ffff::1 fe80:: febf:ffff::1"
).split()
BESIDE = (
    "1.0.0.0 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0 169.253.255.255 169.255.0.0 "
    "172.15.255.255 172.32.0.0 191.255.255.255 192.0.1.0 192.0.3.0 192.88.98.255 192.88.100.0 192.167.255.255 "
    "192.169.0.0 198.17.255.255 198.20.0.0 198.51.99.255 203.0.114.0 223.255.255.255 2000:: 2001:200:: 2001:db7:ffff:: "
    "2001:db9:: 3ffe:ffff:: 3fff:1000::"
).split()


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "2606:4700::1111", "64:ff9b::808:808", "::ffff:8.8.8.8", "2002:808:808::1", *BESIDE]
)
def test_the_internet_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("address", REACHABLE)
def test_what_iana_calls_globally_reachable_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("address", NOT_REACHABLE)
def test_what_iana_calls_special_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["224.0.0.1", "239.255.255.255", "ff02::1", "ff0e::1", "fec0::1", "4000::1", "::2"])
def test_nor_is_what_is_many_machines_or_nobodys(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("inner", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "192.0.0.8", "224.0.0.1", "0.0.0.0"])
@pytest.mark.parametrize("form", ["::ffff:{}", "64:ff9b::{}", "::{}"])
def test_an_ipv4_address_is_judged_in_whatever_it_is_embedded(form: str, inner: str) -> None:
    assert not is_public(form.format(inner))


@pytest.mark.parametrize("address", ["2002:7f00:1::", "2002:c0a8:1::1", "fe80::1%eth0", "2002:c000:8::"])
def test_so_are_6to4_and_an_address_with_a_zone(address: str) -> None:
    assert not is_public(address)


def test_what_is_no_address_is_an_error() -> None:
    with pytest.raises(ValueError, match="example"):
        is_public("example")
