"""Proxies: which proxy a host is reached through, by the environment."""

from __future__ import annotations

import pytest

import oo
from oo.transports.proxy_env import Proxies, name_of_proxy

PROXY = "http://proxy.corp:3128"

# NO_PROXY, host, port (None for the scheme's), whether the host is exempt.
EXEMPT: list[tuple[str, str, int | None, bool]] = [
    ("*", "api.example", None, True),
    ("a.test, *", "api.example", None, True),
    ("", "api.example", None, False),
    ("api.example", "api.example", None, True),
    ("API.Example", "api.example", None, True),
    ("api.example", "API.example.", None, True),
    ("api.example.", "api.example", None, True),
    ("example", "api.example", None, True),
    (".example", "api.example", None, True),
    ("*.example", "api.example", None, True),
    (".api.example", "api.example", None, True),
    ("pi.example", "api.example", None, False),
    ("other.example", "api.example", None, False),
    ("api.example", "example", None, False),
    ("a b", "b", None, True),
    ("a,b", "b", None, True),
    ("a\tb,", "b", None, True),
    ("api.example:8080", "api.example", 8080, True),
    ("api.example:8080", "api.example", None, False),
    ("api.example:80", "api.example", None, True),
    (".example:8080", "api.example", 8080, True),
    ("10.0.0.0/8", "10.1.2.3", None, True),
    ("10.0.0.0/8", "11.1.2.3", None, False),
    ("10.1.2.3/8", "10.9.9.9", None, True),
    ("10.0.0.0/8", "api.10.0.0.0", None, False),
    ("10.1.2.3", "10.1.2.3", None, True),
    ("10.1.2.3:8080", "10.1.2.3", 8080, True),
    ("10.1.2.3:8080", "10.1.2.3", 81, False),
    ("2.3", "10.1.2.3", None, False),
    ("10.0.0.0/8", "::ffff:10.1.2.3", None, True),
    ("fd00::/8", "fd12::1", None, True),
    ("fd00::/8", "fe80::1", None, False),
    ("[fd00::]/8", "fd12::1", None, True),
    ("fd12::1", "fd12::1", None, True),
    ("fd12:0::1", "fd12::1", None, True),
    ("[fd12::1]", "fd12::1", None, True),
    ("[fd12::1]:8080", "fd12::1", 8080, True),
    ("[fd12::1]:8080", "fd12::1", None, False),
    ("[]", "api.example", None, False),
    (".", "api.example", None, False),
    ("10.0.0.0/99", "10.0.0.0", None, False),
]


@pytest.mark.parametrize(("text", "host", "port", "exempt"), EXEMPT)
def test_no_proxy(text: str, host: str, port: int | None, exempt: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", PROXY)
    monkeypatch.setenv("NO_PROXY", text)
    assert Proxies().of("http", host, port) == (None if exempt else PROXY)


@pytest.mark.parametrize(
    ("host", "direct"),
    [
        ("localhost", True),
        ("LOCALHOST.", True),
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("127.1", True),
        ("2130706433", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("0.0.0.0", True),
        ("0", True),
        ("::", True),
        ("127.0.0.1.example", False),
        ("gate.localhost", False),
        ("notlocalhost", False),
        ("10.0.0.1", False),
    ],
)
def test_a_loopback_host_has_no_proxy(host: str, direct: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", PROXY)
    assert Proxies().of("https", host) == (None if direct else PROXY)


def test_each_scheme_has_its_own_proxy_else_that_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "HTTP://secure:1")
    monkeypatch.setenv("ALL_PROXY", "any:2")
    proxies = Proxies()
    assert bool(proxies)
    assert (proxies.of("https", "h"), proxies.of("http", "h")) == ("http://secure:1", "http://any:2")
    assert proxies.places() == {("secure", 1), ("any", 2)}


def test_no_proxy_alone_makes_no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    assert not Proxies()


@pytest.mark.parametrize("proxy", ["socks5://h:1", "ftp://h", "http://", "http://h:0", "http://[h", "http://h:port"])
def test_a_proxy_that_cannot_be_spoken_to_is_refused_by_the_call(proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)
    proxies = Proxies()
    assert proxies.of("http", "127.0.0.1") is None
    for _ in range(2):
        with pytest.raises(oo.DoubleOError, match="proxy") as caught:
            proxies.of("http", "api.example")
        assert (caught.value.reason, caught.value.retryable) == ("argument", False)


def test_a_proxy_is_named_without_its_user() -> None:
    assert name_of_proxy("http://user:p%40ss@proxy.corp:3128/") == PROXY


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", PROXY)
    proxies = Proxies()
    for number in range(3000):
        proxies.of("http", f"h{number}")
    assert len(proxies._known) <= 1001
