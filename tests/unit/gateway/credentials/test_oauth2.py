"""Against a server of tokens on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

import oo
from oo.gateway.credentials.oauth2 import OAuth2Credential
from oo.gateway.errors import StoreError
from tests.support.credential_tools import Asked, TokenServer, Tools

VALUES = {"id": "client:é", "s": "s3cret/+ &", "r": "refresh-1"}
REQUEST = oo.Request("GET", "http://upstream/", oo.Headers({"authorization": "Bearer of the caller"}))


class OAuth2:
    """Answers with `token-1`, `token-2`, ...; each refresh token is good once. The client shows itself by `ways`."""

    def __init__(self, *ways: str) -> None:
        self.ways = ways or ("basic", "body")
        self.count = 0
        self.refresh = "refresh-1"
        self.extra: dict[str, object] = {"expires_in": 1000, "token_type": "Bearer"}
        self.rotates = True

    def __call__(self, asked: Asked) -> tuple[int, object]:
        in_form = (asked.form.get("client_id", ""), asked.form.get("client_secret", ""))
        way = "basic" if asked.basic else "body"
        if (asked.basic or in_form) != (VALUES["id"], VALUES["s"]) or way not in self.ways:
            return 401, {"error": "invalid_client"}
        said: dict[str, object] = {}
        if asked.form["grant_type"] == "refresh_token":
            if asked.form["refresh_token"] != self.refresh:
                return 400, {"error": "invalid_grant"}
            if self.rotates:
                self.refresh = said["refresh_token"] = f"refresh-{self.count + 2}"
        self.count += 1
        return 200, {"access_token": f"token-{self.count}", **said, **self.extra}


@pytest.fixture
async def server() -> AsyncIterator[TokenServer]:
    async with TokenServer(OAuth2()) as server:
        yield server


def credential(
    server: TokenServer, extra: str = "", client: str = "client_id={id} client_secret={s}"
) -> OAuth2Credential:
    return OAuth2Credential.parse(f"token_url={server.url}/token {client} {extra}")


async def sent(made: OAuth2Credential, tools: Tools, values: dict[str, str] = VALUES) -> str:
    return (await made.apply(REQUEST, values, tools)).headers["Authorization"]


async def test_a_token_is_fetched_once_and_renewed_at_four_fifths_of_its_life(
    server: TokenServer, tools: Tools
) -> None:
    made, got = credential(server, 'scope="a b" audience=x'), []
    for seconds in (0, 799, 2, 799, 2):
        tools.io.advance(seconds)
        got.append(await sent(made, tools))
    assert got == [f"Bearer token-{n}" for n in (1, 1, 2, 2, 3)]
    first = server.asked[0]
    assert (first.method, first.path, first.basic) == ("POST", "/token", (VALUES["id"], VALUES["s"]))
    assert first.form == {"grant_type": "client_credentials", "scope": "a b", "audience": "x"}
    assert first.headers["content-type"] == "application/x-www-form-urlencoded"
    assert {"token-1", "token-2", "token-3"} <= tools.hidden


async def test_calls_that_come_together_fetch_one(server: TokenServer, tools: Tools) -> None:
    made = credential(server)
    assert set(await asyncio.gather(*[sent(made, tools) for _ in range(50)])) == {"Bearer token-1"}
    assert len(server.asked) == 1


async def test_what_the_upstream_refuses_is_fetched_anew_once(server: TokenServer, tools: Tools) -> None:
    made = credential(server)
    refused = await made.apply(REQUEST, VALUES, tools)
    assert [made.refused(refused, VALUES, tools) for _ in range(5)] == [True] * 5
    again = await made.apply(REQUEST, VALUES, tools)
    assert again.headers["Authorization"] == "Bearer token-2"
    assert made.refused(again, VALUES, tools) is False
    assert (await sent(made, tools), len(server.asked)) == ("Bearer token-2", 2)


async def test_a_changed_secret_fetches_another(server: TokenServer, tools: Tools) -> None:
    made = credential(server)
    await sent(made, tools)
    with pytest.raises(oo.DoubleOError, match="status 401 and invalid_client"):
        await sent(made, tools, {**VALUES, "s": "canary"})
    assert await sent(made, tools) == "Bearer token-1"


@pytest.mark.parametrize(
    ("takes", "auth", "requests"),
    [("basic", "", 1), ("body", "", 2), ("basic", "auth=basic", 1), ("body", "auth=body", 1)],
)
async def test_the_client_authenticates_as_the_server_will_have_it(
    takes: str, auth: str, requests: int, tools: Tools
) -> None:
    async with TokenServer(OAuth2(takes)) as server:
        made = credential(server, auth)
        assert await sent(made, tools) == "Bearer token-1"
        assert len(server.asked) == requests
        tools.io.advance(801)
        assert await sent(made, tools) == "Bearer token-2"
        assert len(server.asked) == requests + 1  # the way that worked is gone first


@pytest.mark.parametrize(("takes", "auth"), [("body", "basic"), ("basic", "body")])
async def test_it_authenticates_in_no_way_that_was_not_said(takes: str, auth: str, tools: Tools) -> None:
    async with TokenServer(OAuth2(takes)) as server:
        with pytest.raises(oo.DoubleOError, match="invalid_client"):
            await sent(credential(server, f"auth={auth}"), tools)
        assert len(server.asked) == 1


async def test_a_client_that_is_known_is_not_tried_in_another_way(server: TokenServer, tools: Tools) -> None:
    with pytest.raises(oo.DoubleOError, match="status 400 and invalid_grant"):
        await sent(credential(server, "refresh_token={r}"), tools, {**VALUES, "r": "canary"})
    assert len(server.asked) == 1


async def test_a_rotated_refresh_token_is_a_new_version_of_its_secret(server: TokenServer, tools: Tools) -> None:
    made, values = credential(server, "refresh_token={r}"), dict(VALUES)
    assert await sent(made, tools, values) == "Bearer token-1"
    assert tools.versions == [("r", "refresh-2")]
    assert "refresh-2" in tools.hidden
    # A call that has the new version, and one that still has the old, have the access token that came with it.
    assert await sent(made, tools, values) == await sent(made, tools, {**values, "r": "refresh-2"}) == "Bearer token-1"
    assert len(server.asked) == 1
    tools.io.advance(801)
    assert await sent(made, tools, {**values, "r": "refresh-2"}) == "Bearer token-2"
    assert tools.versions == [("r", "refresh-2"), ("r", "refresh-3")]


@pytest.mark.parametrize("same", [None, "refresh-1", "", 7])
async def test_a_refresh_token_that_stays_is_not_kept_again(same: object, server: TokenServer, tools: Tools) -> None:
    server.answer.rotates = False  # type: ignore[attr-defined]  # an OAuth2
    server.answer.extra["refresh_token"] = same  # type: ignore[attr-defined]
    assert await sent(credential(server, "refresh_token={r}"), tools) == "Bearer token-1"
    assert tools.versions == []


async def test_a_public_client_names_itself_in_the_form(tools: Tools) -> None:
    async with TokenServer(lambda asked: (200, {"access_token": asked.form["client_id"]})) as server:
        made = credential(server, client="client_id=app refresh_token={r}")
        assert await sent(made, tools) == "Bearer app"
        assert server.asked[0].basic is None


async def test_without_a_life_a_token_lives_five_minutes(server: TokenServer, tools: Tools) -> None:
    server.answer.extra = {}  # type: ignore[attr-defined]  # an OAuth2
    made, got = credential(server), []
    for seconds in (0, 239, 2):
        tools.io.advance(seconds)
        got.append(await sent(made, tools))
    assert got == ["Bearer token-1", "Bearer token-1", "Bearer token-2"]


@pytest.mark.parametrize("error", [["x"], {}, 1, "invalid_client"])
async def test_an_error_may_be_anything(error: object, tools: Tools) -> None:
    async with TokenServer(lambda asked: (400, {"error": error})) as server:
        with pytest.raises(oo.DoubleOError, match="the token endpoint answered with status 400"):
            await sent(credential(server), tools)
        assert len(server.asked) == 2


@pytest.mark.parametrize("kind", ["mac", "DPoP", None, 1])
async def test_a_token_of_a_type_that_is_not_understood_is_not_used(
    kind: object, server: TokenServer, tools: Tools
) -> None:
    server.answer.extra["token_type"] = kind  # type: ignore[attr-defined]  # an OAuth2
    with pytest.raises(oo.DoubleOError, match="no bearer token"):
        await sent(credential(server), tools)


async def test_an_endpoint_that_is_away_is_an_error_that_may_pass(server: TokenServer, tools: Tools) -> None:
    made = credential(server)
    await server._runner.cleanup()
    with pytest.raises(oo.DoubleOError) as caught:
        await sent(made, tools)
    assert (caught.value.reason, caught.value.retryable) == ("connection", True)


@pytest.mark.parametrize(
    "text",
    [
        "client_id=a client_secret={s}",
        "token_url=canary client_id=a client_secret={s}",
        "token_url=https://{h}/ client_id=a client_secret={s}",
        "token_url=https://h/ client_id=a",
        "token_url=https://h/ client_id=a client_secret=canary",
        "token_url=https://h/ client_id=a refresh_token={a}{b}",
        "token_url=https://h/ client_id=a client_secret={s} auth=canary",
        "token_url=https://h/ client_id=a client_secret={s} grant=canary",
    ],
)
def test_what_can_never_be_fetched_is_refused_and_not_quoted(text: str) -> None:
    with pytest.raises(StoreError) as caught:
        OAuth2Credential.parse(text)
    assert "canary" not in str(caught.value)


def test_it_shows_where_and_by_which_secrets() -> None:
    made = OAuth2Credential.parse("token_url=https://h/t?k=canary client_id={id} client_secret={s}")
    assert made.shown() == "oauth2 token_url=https://h/t client_id={id} client_secret={s}"
    assert (made.secrets, made.sets) == ({"id", "s"}, "the header authorization")
