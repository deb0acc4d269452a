from __future__ import annotations

from collections.abc import Sequence

import pytest

from oo.gateway.errors import StoreError
from oo.gateway.trusted_proxies import TrustedProxies

NAMED = ("10.0.0.0/8", "192.0.2.7", "fd00::/8", "[::1]")


@pytest.mark.parametrize(
    ("peer", "fields", "caller"),
    [
        ("10.1.2.3", ["203.0.113.9"], "203.0.113.9"),
        ("10.1.2.3", ["6.6.6.6, 203.0.113.9"], "203.0.113.9"),  # the first was written by the caller
        ("10.1.2.3", ["203.0.113.9, 192.0.2.7,10.9.9.9"], "203.0.113.9"),
        ("10.1.2.3", ["6.6.6.6", "203.0.113.9"], "203.0.113.9"),
        ("::1", ["2001:db8::1"], "2001:db8::1"),
        ("::ffff:10.1.2.3", ["203.0.113.9"], "203.0.113.9"),
        ("fd00::5%eth0", ["203.0.113.9"], "203.0.113.9"),
        ("10.1.2.3", ["203.0.113.9:4711"], "203.0.113.9"),
        ("10.1.2.3", ["[2001:db8::1]:4711"], "2001:db8::1"),
        ("10.1.2.3", ["10.1.1.1"], None),
        ("10.1.2.3", ["203.0.113.9, unknown"], None),
        ("10.1.2.3", ["203.0.113.9, "], None),
        ("10.1.2.3", ['<script>"'], None),
        ("10.1.2.3", [], None),
        ("11.1.2.3", ["203.0.113.9"], None),  # nobody that is trusted says so
        ("192.0.2.8", ["203.0.113.9"], None),
        ("", ["203.0.113.9"], None),
        (None, ["203.0.113.9"], None),
    ],
)
def test_the_last_address_that_is_no_proxys_is_the_callers(
    peer: str | None, fields: Sequence[str], caller: str | None
) -> None:
    assert TrustedProxies(NAMED).caller(peer, fields) == caller


def test_nobody_is_trusted_unless_named() -> None:
    assert not TrustedProxies()
    assert TrustedProxies(NAMED)
    assert TrustedProxies().caller("127.0.0.1", ["203.0.113.9"]) is None


@pytest.mark.parametrize("named", ["proxy.example", "10.0.0.0/99", ""])
def test_a_proxy_is_an_address_or_a_network(named: str) -> None:
    with pytest.raises(StoreError, match=r"such as 10\.0\.0\.0/8"):
        TrustedProxies([named])
