from __future__ import annotations

import pytest

from oo._http.request import Request
from oo.gateway.context import GatewayContext
from oo.gateway.destinations import Destination
from oo.gateway.errors import GatewayError, Unauthorized
from oo.gateway.models import Route, Upstream
from oo.gateway.reach import NoRoute, inside, reach, routes_of
from oo.gateway.tokens import new_token
from oo.gateway.vault import Vault


def to(*tokens: str, host: str = "a.test", tunnelled: bool = False) -> Destination:
    return Destination("https", host, 443, tokens, tunnelled)


@pytest.fixture
async def tokens(vault: Vault) -> list[str]:
    await vault.put_route(Route("a", "https://a.test"))
    await vault.put_route(Route("a2", "https://a.test"))
    await vault.put_route(Route("b", "https://b.test"))
    await vault.put_bundle("all", ["b", "a2", "a"])
    found = [await vault.issue("route", name) for name in ("a", "a2", "b")]
    return [*found, await vault.issue("bundle", "all"), await vault.issue("secret", "a")]


async def test_the_first_that_goes_there_is_taken(vault: Vault, tokens: list[str]) -> None:
    a, a2, b, bundle, secret = tokens
    for shown, token, route in (
        ((a, a2), a, "a"),
        ((a2, a), a2, "a2"),
        ((b, a), a, "a"),
        ((b, bundle), bundle, "a2"),
        (("oo_no", secret, a), a, "a"),
    ):
        found = await reach(vault, to(*shown))
        assert (found.token, found.route.name, found.upstream.url) == (token, route, "https://a.test")
        assert token not in repr(found)


async def test_a_token_that_goes_elsewhere_is_told_so(vault: Vault, tokens: list[str]) -> None:
    with pytest.raises(NoRoute) as caught:
        await reach(vault, to("oo_no", *tokens, host="c.test"))
    assert (caught.value.status, caught.value.grant.name) == (403, "a")
    assert str(caught.value) == "no route of this token goes to https://c.test:443"


@pytest.mark.parametrize("tunnelled", [False, True])
async def test_one_that_is_unknown_is_asked_for_or_refused(vault: Vault, tunnelled: bool) -> None:
    for shown in ((), ("oo_no",), (new_token(),)):
        with pytest.raises(GatewayError) as caught:
            await reach(vault, to(*shown, tunnelled=tunnelled))
        assert caught.value.status == (401 if tunnelled else 407)
        if not tunnelled:
            assert ("is to be a token" in str(caught.value)) is (shown == ())


async def test_the_holder_of_a_genuine_one_is_told_why(vault: Vault, tokens: list[str]) -> None:
    await vault.revoke(vault.id_of(tokens[0]))
    for shown, why in (((tokens[0], "oo_no"), "it was revoked"), (("oo_no", tokens[4]), "it opens a secret")):
        with pytest.raises(Unauthorized, match=why):
            await reach(vault, to(*shown))


async def test_a_route_that_is_gone_is_passed_over(vault: Vault, tokens: list[str]) -> None:
    grant = await vault.opens(tokens[3], "route")
    assert [route.name for route in await routes_of(vault, grant)] == ["b", "a2", "a"]  # type: ignore[arg-type]
    await vault.put_bundle("all", [])
    assert [route.name for route in await routes_of(vault, grant)] == []  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("url", "base", "inner", "prefix"),
    [
        ("/api/proxy/x?y", "https://a", "/api/proxy/x?y", "/"),
        ("/api/proxy/v1/x?y", "https://a/v1", "/api/proxy/x?y", "/v1/"),
        ("/api/proxy/v1", "https://a/v1", "/api/proxy/", "/v1/"),
        ("/api/proxy//x", "https://a", "/api/proxy//x", "/"),
    ],
)
def test_what_the_upstreams_path_is_stands_in_front(url: str, base: str, inner: str, prefix: str) -> None:
    context = GatewayContext()
    found = inside(Request("GET", url, context=context), Upstream(base))
    assert (found.url, context.prefix) == (inner, prefix)


def test_a_path_beside_the_upstreams_is_refused() -> None:
    with pytest.raises(GatewayError) as caught:
        inside(Request("GET", "/api/proxy/x", context=GatewayContext()), Upstream("https://a/v1"))
    assert caught.value.status == 403
