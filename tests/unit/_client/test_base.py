"""Which server a client calls: in which spelling, where from, and when that is warned of."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

import oo
from oo._client import base as _client
from oo.testing import MockTransport
from tests.support.faults import serving
from tests.support.worlds import World

TOKEN = "a-token-for-paths"


BASES = {
    "http://localhost:3001": "http://localhost:3001",
    "http://localhost:3001/": "http://localhost:3001",
    "https://api.example.test": "https://api.example.test",
    "https://api.example.test/some/where/": "https://api.example.test/some/where",
    "https://api.example.test///": "https://api.example.test",
    "HTTPS://Api.Example.test": "https://Api.Example.test",
    "http://[::1]:3001": "http://[::1]:3001",
    "http://127.0.0.1": "http://127.0.0.1",
    "http://some_service.localhost": "http://some_service.localhost",
    "https://xn--bcher-kva.test.": "https://xn--bcher-kva.test.",
    "https://api.example.test/%e4[b]": "https://api.example.test/%E4%5Bb%5D",
}


@pytest.mark.parametrize(("given_url", "kept"), BASES.items())
def test_a_base_url_is_kept_in_one_spelling(world: World, given_url: str, kept: str) -> None:
    assert world.client(given_url, transport=MockTransport([])).base_url == kept


def test_the_base_url_is_the_argument_else_of_the_environment_else_the_gateways(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def base(*args: Any) -> str:
        return str(world.client(*args, transport=MockTransport([])).base_url)

    assert base() == base(None) == "http://127.0.0.1:3001"
    monkeypatch.setenv("OO_BASE_URL", "")
    assert base() == "http://127.0.0.1:3001"
    monkeypatch.setenv("OO_BASE_URL", "https://env.example.test/")
    assert base() == "https://env.example.test"
    assert base("https://arg.example.test") == "https://arg.example.test"
    monkeypatch.setenv("OO_BASE_URL", "nonsense")
    with pytest.raises(ValueError, match="base URL"):
        base()


def test_a_function_calls_the_server_it_is_told_to_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as one, serving() as two:
        monkeypatch.setenv("OO_BASE_URL", one.url)
        assert oo.health() is True
        assert oo.health(base_url=two.url) is True
        assert oo.health() is True
        monkeypatch.setenv("OO_BASE_URL", two.url)
        assert oo.health() is True
        assert (len(one.requests), len(two.requests)) == (2, 2)


ELSEWHERE = (
    "http://example.test HTTP://example.test http://192.0.2.1 http://[2001:db8::1]:80 "
    "http://localhost.example.test http://127.0.0.1.example.test http://notlocalhost "
    "http://0.0.0.0"
).split()


@pytest.mark.parametrize("url", ELSEWHERE)
def test_plain_http_to_elsewhere_warns_once(world: World, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_client, "_warned", set())
    with pytest.warns(UserWarning, match="plain http") as caught:
        world.client(url, transport=MockTransport([]))
    assert caught[0].filename == world.client.__func__.__code__.co_filename  # type: ignore[attr-defined]  # a method
    world.client(url, transport=MockTransport([]))
    oo.Client(url + "/", transport=MockTransport([])).close()


@pytest.mark.parametrize(
    "url",
    (
        "https://example.test HTTPS://192.0.2.1 http://localhost HTTP://LOCALHOST:1 "
        "http://some.name.localhost http://127.0.0.1 http://127.254.3.2:1 http://[::1] "
        "http://[0:0:0:0:0:0:0:1]:1"
    ).split(),
)
def test_tls_and_loopback_do_not_warn(world: World, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_client, "_warned", set())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        world.client(url, transport=MockTransport([]))
