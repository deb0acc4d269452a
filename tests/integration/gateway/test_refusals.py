"""What the gateway refuses, as its own clients and commands say it: the same words in either shape."""

from __future__ import annotations

from typing import Any

import pytest

import oo
import oo.testing
from oo.gateway.models import Rate
from tests.support.command import Inside, refused
from tests.support.worlds import World

FORBIDDEN = "the gateway answered 403: the route of this token does not allow that method and path"
LIMITED = "the gateway answered 429: this token is used too often: again in 1000 s"
NONE = "the token was not accepted (401); is it whole, current and for this call?"
USED_UP = "the token was not accepted (401): it is used up"
OTHER = "the token was not accepted (401): it opens a route, and nothing else"


@pytest.mark.parametrize(
    ("terms", "path", "kind", "status", "said"),
    [
        ({}, "v2/x", oo.ProxyError, 403, FORBIDDEN),
        ({"rate": Rate(1, 1000.0)}, "v1/x", oo.ProxyError, 429, LIMITED),
        ({"uses": 1}, "v1/x", oo.AuthenticationError, 401, USED_UP),
        (None, "v1/x", oo.AuthenticationError, 401, NONE),
    ],
)
def test_a_proxied_call_that_is_refused(
    world: World, gateway: oo.testing.LocalGateway, terms: Any, path: str, kind: type[Exception], status: int, said: str
) -> None:
    gateway.route("r", "http://127.0.0.1:9", allow=("* /v1/*",))
    token = "oo_none" if terms is None else gateway.issue("route", "r", **terms)
    client = world.client(gateway.url)
    if terms:  # its one call
        with pytest.raises(oo.ProxyError, match="502"):
            client.proxy("v1/x", token)
    with pytest.raises(oo.DoubleOError) as caught:
        client.proxy(path, token)
    assert (type(caught.value), caught.value.status) == (kind, status)
    assert str(caught.value).endswith(f"(POST /api/proxy/{path} at {gateway.url}): {said}")
    assert (caught.value.retry_after is not None) is (status == 429)


def test_a_secret_that_is_refused(world: World, gateway: oo.testing.LocalGateway) -> None:
    token = gateway.route("r", "http://127.0.0.1:9")
    with pytest.raises(oo.AuthenticationError) as caught:
        world.client(gateway.url).get_secret(token)
    assert str(caught.value).endswith(OTHER)


@pytest.mark.parametrize("command", [("proxy", "v2/x"), ("chat", "Hello!")])
def test_a_command_says_the_same(
    gateway: oo.testing.LocalGateway, inside: Inside, command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OO_TOKEN", gateway.route("r", "http://127.0.0.1:9", allow=("* /v3/*",)))
    monkeypatch.setenv("OO_BASE_URL", gateway.url)
    assert refused(inside(*command)).endswith(FORBIDDEN)
