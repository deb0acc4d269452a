from __future__ import annotations

import pytest

import oo
from oo.gateway.egress import PublicResolver, check_literal


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
