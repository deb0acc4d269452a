from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from oo.gateway.explain import Explanation, LookingStore, explain
from oo.gateway.models import Denial, Grant, Rate, Route
from oo.gateway.sealing import Keyring, new_key
from oo.gateway.vault import Vault
from tests.support.vaults import spend

KEY, LITERAL = "sk-canary-0123456789", "a-text-of-its-own"
INJECT = {"Authorization": "Bearer {key}", "X-Pair": "{key}:{other}", "X-Team": LITERAL}


class Place:
    """A vault with a secret, an environment and a route, and tokens for them by name."""

    def __init__(self, home: Path) -> None:
        self.home, ring = home, Keyring([new_key()])
        self.load = lambda: ring
        Vault.create(home, ring)

    async def fill(self, **terms: Any) -> str:
        """A token for the route."""
        async with Vault(self.home, self.load) as vault:
            await vault.put_secret("key", KEY)
            await vault.put_secret("other", KEY)
            await vault.put_environment("web", {"A": "1"})
            await vault.put_route(Route("api", "https://api.example/base", INJECT, ("GET /v1/models", "POST /v1/*")))
            await vault.put_route(Route("open", "http://10.0.0.1"))
            await vault.put_route(Route("bare", "https://bare.example"))
            return await vault.issue("route", "api", **terms)

    async def issue(self, kind: Any, name: str, **terms: Any) -> str:
        async with Vault(self.home, self.load) as vault:
            return await vault.issue(kind, name, **terms)

    async def ask(self, token: str, call: str) -> Explanation:
        async with Vault(self.home, self.load) as vault:
            return await explain(LookingStore(vault), token, *call.split(" "))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


async def test_each_step_says_its_word(place: Place) -> None:
    token = await place.fill(uses=5, rate=Rate(60, 60.0), ttl=3600.0, label="the build")
    said = await place.ask(token, "POST /v1/chat?a=1")
    (_, opens), (_, left), *rest = said.words
    assert said.refusal is None
    assert opens[12:] == " (the build) opens the route api"
    assert left.startswith("5 of 5 uses, 60 at once of 60/m, until 20")
    assert rest == [
        ("allowed", "by POST /v1/*"),
        ("costs", "one use"),
        ("goes to", "POST https://api.example/base/v1/chat?a=1"),
        ("injected", "the header Authorization with {key}"),
        ("injected", "the header X-Pair with {key}, {other}"),
        ("injected", "the header X-Team with ***"),
        ("answer", "the upstream's"),
    ]
    assert not [each for each in (KEY, LITERAL, token) if each in repr(said)]


@pytest.mark.parametrize("path", ["/api/proxy", "/api/proxy/", "/"])
async def test_the_base_url_of_an_sdk_is_what_it_is_to_the_gateway(place: Place, path: str) -> None:
    await place.fill()
    said = await place.ask(await place.issue("route", "bare"), f"GET {path}")
    assert ("goes to", "GET https://bare.example/") in said.words


@pytest.mark.parametrize(
    ("kind", "name", "call"), [("secret", "key", "GET /api/secret"), ("env", "web", "GET /api/env")]
)
async def test_what_opens_no_route_is_the_gateways_to_answer(place: Place, kind: Any, name: str, call: str) -> None:
    await place.fill()
    said = await place.ask(await place.issue(kind, name), call)
    assert said.refusal is None
    assert said.words[0][1][12:] == f" opens the {kind} {name}"
    assert said.words[1:] == [("left", "any number of uses"), ("costs", "no use"), ("answer", "the gateway's")]


@pytest.mark.parametrize("token", ["", "no token at all"])
async def test_health_is_for_everybody(place: Place, token: str) -> None:
    assert await place.ask(token, "GET /health") == Explanation([("answer", "the gateway's")])


async def test_the_terms_of_a_token_are_told_and_nothing_is_charged(place: Place) -> None:
    token = await place.fill(uses=3, rate=Rate(2, 60.0))
    async with Vault(place.home, place.load) as vault:
        looking = LookingStore(vault)
        for _ in range(3):
            found = await looking.terms(token)
            assert isinstance(found, tuple)
            assert (found[0].id, found[0].used, found[1]) == (vault.id_of(token), 0, 0.0)
        await spend(vault, token, "route")
        found = await looking.terms(token)
        assert isinstance(found, tuple)
        assert (found[0].used, found[1] > time.time() + 25) == (1, True)
        assert await looking.terms("oo_x") == Denial("malformed")


@pytest.mark.parametrize("terms", [{}, {"uses": 1}, {"rate": Rate(1, 1000.0)}, {"uses": 1, "rate": Rate(1, 1000.0)}])
async def test_nothing_is_spent(place: Place, terms: dict[str, Any]) -> None:
    token = await place.fill(**terms)
    for _ in range(3):
        assert (await place.ask(token, "POST /v1/x")).refusal is None
    async with Vault(place.home, place.load) as vault:
        assert [each.used for each in await vault.tokens()] == [0]
        assert isinstance(await spend(vault, token, "route"), Grant)
    assert {each.name for each in place.home.iterdir()} <= {f"vault.db{end}" for end in ("", "-wal", "-shm", "-turn")}


async def test_a_looking_vault_writes_nothing(place: Place) -> None:
    token = await place.fill()
    async with Vault(place.home, place.load) as opened:
        vault = LookingStore(opened)
        with pytest.raises(RuntimeError, match="writes nothing"):
            await vault.claim(token, "key", 60.0)
        with pytest.raises(RuntimeError, match="writes nothing"):
            await vault.put_secret("key", "other")


@pytest.mark.parametrize(
    ("terms", "call", "by", "message", "mend"),
    [
        ({"uses": 1}, "GET /v1/models", "Authorize", "it is used up", "oo token issue --route api"),
        ({"rate": Rate(1, 1000.0)}, "GET /v1/models", "Authorize", "too often", "wait 1000 s"),
        ({"ttl": -1.0}, "GET /v1/models", "Authorize", "it has expired", "oo token issue --route api"),
        ({}, "GET /api/secret", "Authorize", "it opens a route", "GET /v1/models"),
        (
            {},
            "GET /v2/x",
            "Allow",
            "does not allow",
            "--allow 'GET /v1/models' --allow 'POST /v1/*' --allow 'GET /v2/x'",
        ),
        ({}, "GET /v1/../x", "Allow", "segment", "'..'"),
        ({}, "TRACE /v1/x", "Allow", "not passed on", "use one of DELETE"),
        ({}, "POST /api/secret", "Authorize", "nothing here", "/api/secret"),
    ],
)
async def test_who_says_no_and_what_would_mend_it(
    place: Place, terms: dict[str, Any], call: str, by: str, message: str, mend: str
) -> None:
    token = await place.fill(**terms)
    async with Vault(place.home, place.load) as vault:
        await spend(vault, token, "route")
    said = await place.ask(token, call)
    assert said.refusal is not None
    assert (said.refusal.by, message in said.refusal.message, mend in said.refusal.mend) == (by, True, True), said
    # Which token it is and what it has left is told all the same.
    assert [what for what, _ in said.words][:2] == ["token", "left"]


@pytest.mark.parametrize("path", ["/v1/models", "/api/proxy/v1/models"])
async def test_a_path_is_the_apis_with_or_without_the_gateways_place(place: Place, path: str) -> None:
    said = await place.ask(await place.fill(), f"GET {path}")
    assert ("goes to", "GET https://api.example/base/v1/models") in said.words
    assert ("allowed", "by GET /v1/models") in said.words


@pytest.mark.parametrize(("token", "mend"), [("oo_x", "49 characters"), ("", "oo token issue")])
async def test_of_a_token_that_is_none_there_is_nothing_to_tell(place: Place, token: str, mend: str) -> None:
    await place.fill()
    said = await place.ask(token, "GET /v1/models")
    assert said.refusal is not None
    assert (said.words, mend in said.refusal.mend) == ([], True)


async def test_what_would_be_refused_on_its_way_out_is_refused(place: Place) -> None:
    await place.fill()
    said = await place.ask(await place.issue("route", "open"), "GET /v1/models")
    assert said.refusal is not None
    assert (said.refusal.by, "private" in said.refusal.message) == ("the transport", True)
    assert "oo route list" in said.refusal.mend
    assert ("injected", "nothing") in said.words
    assert ("allowed", "the route allows everything") in said.words


@pytest.mark.parametrize("kind", ["bundle", "route"])
@pytest.mark.parametrize(
    ("call", "goes", "no"),
    [
        ("POST https://api.example/base/v1/chat?a=1", "POST https://api.example/base/v1/chat?a=1", None),
        ("POST https://API.example:443/base/v1/chat", "POST https://api.example/base/v1/chat", None),
        ("POST https://api.example/v1/chat", None, "does not go to that path"),
        ("POST http://api.example/base/v1/chat", None, "no route of this token goes to http://api.example:80"),
        ("DELETE https://api.example/base/v1/chat", None, "does not allow that method and path"),
    ],
)
async def test_a_whole_url_is_asked_for_by_the_forward_proxy(
    place: Place, kind: str, call: str, goes: str | None, no: str | None
) -> None:
    token = await place.fill()
    if kind == "bundle":
        async with Vault(place.home, place.load) as vault:
            await vault.put_bundle("agent", ["bare", "api"])
        token = await place.issue("bundle", "agent")
    said = await place.ask(token, call)
    assert dict(said.words).get("goes to") == goes
    if no is None:
        assert said.refusal is None
    else:
        assert said.refusal is not None
        assert no in said.refusal.message
        assert said.refusal.mend.startswith("`oo route")
    assert token not in repr(said)
