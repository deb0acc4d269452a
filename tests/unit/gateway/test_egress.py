from __future__ import annotations

import pytest

import oo
from oo.gateway.egress import PublicResolver, check_literal, is_public


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "64:ff9b::808:808", "::ffff:8.8.8.8"])
def test_the_internet_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    (
        "127.0.0.1 0.0.0.0 10.0.0.1 172.16.0.1 192.168.1.1 169.254.169.254 100.64.0.1 224.0.0.1 255.255.255.255 ::1 :: "
        "fe80::1 fe80::1%eth0 fc00::1 fec0::1 ff02::1 ::ffff:127.0.0.1 ::ffff:7f00:1 ::7f00:1 64:ff9b::7f00:1 "
        "64:ff9b:1::808:808 2002:7f00:1::"
    ).split(),
)
def test_what_is_not_on_the_internet_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.1", "2130706433", "0x7f.0.0.1", "0177.0.0.1", "127.0.0.1.", "[::1]", "[::ffff:7f00:1]"]
)
def test_an_address_in_a_url_is_checked_as_it_is_spelt(host: str) -> None:
    with pytest.raises(oo.DoubleOError, match="private") as caught:
        check_literal(f"http://{host}:1/x")
    assert caught.value.reason == "argument"


@pytest.mark.parametrize("host", ["1.1.1.1", "[2606:4700::1111]", "localhost", "api.example", "10.example"])
def test_a_public_address_or_a_name_in_a_url_passes(host: str) -> None:
    check_literal(f"https://{host}/x")


async def test_a_forward_proxys_private_address_is_given() -> None:
    resolver = PublicResolver([("127.0.0.1", 3128)])
    try:
        assert [each["host"] for each in await resolver.resolve("127.0.0.1", 3128)] == ["127.0.0.1"]
        with pytest.raises(oo.DoubleOError, match="private"):
            await resolver.resolve("127.0.0.1", 3129)
    finally:
        await resolver.close()


async def test_public_addresses_are_all_that_a_name_gives() -> None:
    resolver = PublicResolver()
    try:
        (found,) = await resolver.resolve("1.1.1.1", 443)
        assert (found["host"], found["port"]) == ("1.1.1.1", 443)
        with pytest.raises(oo.DoubleOError, match="private"):
            await resolver.resolve("10.0.0.1", 443)
    finally:
        await resolver.close()
