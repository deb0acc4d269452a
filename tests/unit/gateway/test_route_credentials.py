"""What a route may put into its requests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any

import pytest

from oo.gateway import route_credentials, services
from oo.gateway.credentials.registry import Registry
from oo.gateway.errors import StoreError
from oo.gateway.models import Route
from oo.gateway.sealing import Keyring, new_key
from oo.gateway.vault import Vault
from tests.support.private_keys import ec_pem
from tests.support.vaults import refusal
from tests.unit.gateway.credentials.test_base import Plain

CANARY = "sk-canary-0123456789"
UPSTREAM = "https://example.com"
KINDS = Registry()


@pytest.fixture
async def vault(tmp_path: Path) -> AsyncIterator[Vault]:
    ring = Keyring([new_key()])
    Vault.create(tmp_path / "home", ring)
    async with Vault(tmp_path / "home", lambda: ring) as vault:
        await vault.put_secret("key", CANARY)
        await vault.put_secret("other", "other-value-1234")
        yield vault


def refused(what: Any) -> Awaitable[str]:
    return refusal(what, CANARY)


async def test_a_kind_that_no_plugin_adds_is_warned_of(vault: Vault) -> None:
    for name, texts in {
        "own": ("header X: {key}",),
        "plugins": ("plain x{key}", "plain y{key}"),
        "other": ("acme {key}",),
    }.items():
        await vault.put_route(Route(name, UPSTREAM, credentials=texts))
    other, plugins = await route_credentials.unknown_kinds(vault, KINDS)
    assert ("'other'" in other, "'acme'" in other, "oo serve --plugins" in other) == (True, True, True)
    assert ("'plugins'" in plugins, "'plain'" in plugins) == (True, True)
    assert await route_credentials.unknown_kinds(vault, Registry([Plain])) == [other]


async def test_the_kinds_that_are_used_are_those_of_any_route_however_they_are_written(vault: Vault) -> None:
    await vault.put_route(Route("a", UPSTREAM, {"X-Key": "{key}"}, query={"key": "{key}"}))
    await vault.put_route(
        Route("b", UPSTREAM, basic="user:{key}", credentials=("jwt alg=HS256 key={key}", "acme {key}"))
    )
    assert await route_credentials.used_kinds(vault) == {"header", "query", "basic", "jwt", "acme"}


# Each kind that takes a text of one's own, with that text.
PLACES: dict[str, Any] = {
    "inject": lambda text: Route("r", UPSTREAM, {"Authorization": text, "X-Host-Id": "x"}),
    "query": lambda text: Route("r", UPSTREAM, query={"key": text}),
    "basic": lambda text: Route("r", UPSTREAM, basic=f"user:{text}"),
    "credentials": lambda text: Route("r", UPSTREAM, credentials=(f"header X: {text}",)),
    "oauth2": lambda text: Route(
        "r", UPSTREAM, credentials=(f"oauth2 token_url=https://h client_secret={{key}} client_id='{text}'",)
    ),
}
anywhere = pytest.mark.parametrize("place", PLACES)


@anywhere
@pytest.mark.parametrize("text", ["Bearer {key}", "{a}:{b}", "plain", "$5 a month", "a$", "100%", '{{"k": "{a}"}'])
def test_a_text_may_hold_the_names_of_secrets(place: str, text: str) -> None:
    route = PLACES[place](text.replace('"', "") if place == "oauth2" else text)
    assert route_credentials.parsed(route, KINDS).secrets == route.secrets


@anywhere
@pytest.mark.parametrize(
    "text", ["{key", "key}", "Bearer {key} {", "{{key}}", "{ key }", "{}", "{my key}", "$KEY", "${KEY}", "$(cat key)"]
)
def test_a_text_that_was_meant_for_something_else_is_refused_and_not_said_again(place: str, text: str) -> None:
    with pytest.raises(StoreError, match=r"brace|\$name") as caught:
        route_credentials.parsed(PLACES[place](f"{CANARY} {text}"), KINDS)
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize(
    "name",
    "Connection connection Keep-Alive Proxy-Authorization Proxy-Connection TE Trailer Transfer-Encoding "
    "TRANSFER_ENCODING Upgrade Content-Length content_length Content-Encoding Accept-Encoding Expect "
    "HTTP2-Settings Host".split(),
)
def test_a_header_of_the_connection_or_of_framing_is_refused(name: str) -> None:
    with pytest.raises(StoreError, match=name):
        route_credentials.parsed(Route("r", UPSTREAM, {name: "x"}), KINDS)


@pytest.mark.parametrize(
    "route",
    [
        Route("r", f"https://example.com/bot{CANARY}"),
        Route("r", f"https://example.com/{CANARY.replace('-', '%2D')}/{{other}}"),
        *(place(f"x {CANARY}") for place in PLACES.values()),
    ],
    ids=lambda route: route.upstream + " ".join(route.texts)[:12],
)
async def test_a_route_does_not_hold_the_value_of_a_secret_as_text(vault: Vault, route: Route) -> None:
    assert "write {key} there" in await refused(services.put_route(vault, route))
    assert await vault.names("route") == []


async def test_a_value_that_a_route_holds_as_text_is_warned_of_when_it_is_set(vault: Vault) -> None:
    await services.put_route(vault, Route("r", UPSTREAM, {"X": "later-a-secret"}))
    _, [warning] = await services.put_secret(vault, "late", "later-a-secret")
    assert "the route 'r' holds this value as text" in warning
    assert "write {late}" in warning


@pytest.mark.parametrize(
    ("route", "value"),
    [
        (Route("r", UPSTREAM, {"X": "{key}"}), f"{CANARY}\n{CANARY}"),
        (Route("r", UPSTREAM, basic="{key}:{other}"), f"{CANARY}:"),
        (Route("r", "https://example.com/{key}"), f"{CANARY}/.."),
        (Route("r", UPSTREAM, credentials=("jwt alg=ES256 key={key}",)), CANARY),
        (
            Route("r", UPSTREAM, credentials=("sigv4 access_key={key} secret_key={other} region=r service=s",)),
            "a/b-c-d-e",
        ),
    ],
    ids=lambda each: " ".join(each.texts)[:12] if isinstance(each, Route) else "",
)
async def test_a_secret_fits_its_routes_whichever_is_set_first(vault: Vault, route: Route, value: str) -> None:
    good = ec_pem() if "jwt" in "".join(route.texts) else CANARY
    await vault.put_secret("key", value)
    assert "could not be called" in await refused(services.put_route(vault, route))
    assert await services.put_secret(vault, "key", good) == (3, [])
    await services.put_route(vault, route)
    assert "the route 'r' could not be called" in await refused(services.put_secret(vault, "key", value))
    assert len(await vault.versions("key")) == 3
    number, [warning] = await services.rollback(vault, "key", 2)
    assert (number, "could not be called" in warning) == (2, True)


@pytest.mark.parametrize(
    ("url", "said"),
    [("http://login.example.com/token", "plain http"), ("https://10.0.0.7/token", "private")],
)
async def test_what_a_credential_calls_is_held_to_the_rules_of_an_upstream(vault: Vault, url: str, said: str) -> None:
    text = f"oauth2 token_url={url} client_id=app client_secret={{key}}"
    assert said in await refused(services.put_route(vault, Route("r", UPSTREAM, credentials=(text,))))
    allowed = Route("r", UPSTREAM, credentials=(text,), allow_private=True, allow_plain_http=True)
    await services.put_route(vault, allowed)


async def test_a_kind_of_a_plugin_needs_the_plugin_to_be_set_and_not_to_be_shown(vault: Vault) -> None:
    route = Route("r", UPSTREAM, credentials=("plain x{key}",))
    assert "kind of credentials 'plain'" in await refused(services.put_route(vault, route))
    await services.put_route(vault, route, kinds=Registry([Plain]))
    assert await services.put_secret(vault, "key", "another-value") == (2, [])
    assert route_credentials.shown(route) == ["plain"]
    assert route_credentials.shown(route, Registry([Plain])) == ["plain ...{key}"]


def test_no_text_is_shown() -> None:
    route = Route(
        *("r", "https://example.com/{key}", {"X": f"{CANARY} {{key}}"}),
        query={"q": f"{CANARY}{{key}}"},
        basic=f"{{user}}:{CANARY}",
        credentials=("jwt alg=HS256 key={key} iss=me",),
    )
    assert route_credentials.shown(route) == ["query q=...{key}", "basic {user}:...", "jwt alg=HS256 key={key} iss=me"]


async def test_what_is_dropped_is_gone_and_what_is_not_there_is_said(vault: Vault) -> None:
    jwt = "jwt alg=HS256 key={other}-{other} aud=a"
    await vault.put_secret("other", "o" * 32)
    with_all = Route("r", UPSTREAM, {"X-A": "a"}, query={"q": "b"}, credentials=("jwt alg=HS256 key={other}",))
    assert jwt  # a key is all placeholder
    await services.put_route(vault, with_all)
    assert await services.update_route(vault, "r", {"query": {"p": "{key}"}}, ["x-a", "Q", "jwt"]) == [
        "inject X-A: dropped",
        "query q: dropped",
        "query p: added",
        "credentials: dropped",
    ]
    assert await services.update_route(vault, "r", {"basic": "me:{key}"}) == ["basic: added"]
    assert await services.update_route(vault, "r", {"basic": "you:{key}"}) == ["basic: changed"]
    assert await services.update_route(vault, "r", {}, ["basic", "p"]) == ["query p: dropped", "basic: dropped"]
    assert await vault.route("r") == Route("r", UPSTREAM)
    for name in ("X-A", "basic", "ca", "cert", "jwt"):
        assert f"injects no {name}" in await refused(services.update_route(vault, "r", {}, [name]))
