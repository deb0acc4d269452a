from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timezone

import pytest

import oo
from oo.gateway.credentials.github_app import GitHubAppCredential
from oo.gateway.errors import StoreError
from tests.support.credential_tools import Asked, TokenServer, Tools
from tests.support.private_keys import read_jwt, rsa_pem

REQUEST = oo.Request("GET", "http://upstream/")


class GitHub:
    """Gives installation tokens that live an hour to app 12, installation 34."""

    def __init__(self, tools: Tools) -> None:
        self.tools = tools
        self.count = 0
        self.expires: object = ...

    def __call__(self, asked: Asked) -> tuple[int, object]:
        scheme, _, assertion = asked.headers["authorization"].partition(" ")
        _, claims = read_jwt(assertion, rsa_pem())
        now = self.tools.now()
        good = scheme == "Bearer" and claims["iss"] == "12" and claims["iat"] <= now < claims["exp"] <= now + 600
        if not good or (asked.method, asked.path) != ("POST", "/api/v3/app/installations/34/access_tokens"):
            return 401, {"message": "A JSON web token could not be decoded"}
        self.count += 1
        at = datetime.fromtimestamp(now + 3600, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        return 201, {"token": f"ghs_{self.count}", "expires_at": at if self.expires is ... else self.expires}


@pytest.fixture
async def github(tools: Tools) -> AsyncIterator[TokenServer]:
    async with TokenServer(GitHub(tools)) as server:
        yield server


def credential(github: TokenServer, installation: str = "34") -> GitHubAppCredential:
    return GitHubAppCredential.parse(f"app_id=12 installation_id={installation} key={{pem}} api={github.url}/api/v3/")


async def test_an_assertion_is_exchanged_for_an_installations_token(github: TokenServer, tools: Tools) -> None:
    made, values, got = credential(github), {"pem": rsa_pem()}, []
    for seconds in (0, 2800, 100):
        tools.io.advance(seconds)
        got.append((await made.apply(REQUEST, values, tools)).headers["Authorization"])
    assert got == ["Bearer ghs_1", "Bearer ghs_1", "Bearer ghs_2"]
    assert github.asked[0].headers["accept"] == "application/vnd.github+json"
    assert {"ghs_1", "ghs_2"} <= tools.hidden


@pytest.mark.parametrize(("expires", "life"), [(None, 3600), ("soon", 3600), ("1999-01-01T00:00:00Z", 0), (7, 3600)])
async def test_a_token_lives_as_long_as_github_says(
    expires: object, life: int, github: TokenServer, tools: Tools
) -> None:
    github.answer.expires = expires  # type: ignore[attr-defined]  # a GitHub
    made, values = credential(github), {"pem": rsa_pem()}
    await made.apply(REQUEST, values, tools)
    tools.io.advance(life * 0.79)
    await made.apply(REQUEST, values, tools)
    assert len(github.asked) == (1 if life else 2)


async def test_a_refusal_quotes_nothing(github: TokenServer, tools: Tools) -> None:
    with pytest.raises(oo.DoubleOError) as caught:
        await credential(github, "35").apply(REQUEST, {"pem": rsa_pem()}, tools)
    assert str(caught.value) == "GitHub answered with status 401"


@pytest.mark.parametrize("value", ["", "a", "1/../2", "1?x", "²"])
async def test_an_installation_is_a_number(value: str, github: TokenServer, tools: Tools) -> None:
    with pytest.raises(oo.DoubleOError, match="installation_id is no number"):
        await credential(github, "{i}").apply(REQUEST, {"pem": rsa_pem(), "i": value}, tools)
    assert github.asked == []


@pytest.mark.parametrize("extra", ["", "key=canary", "key={k} api=canary", "key={k} api=https://h/?canary"])
def test_what_can_never_be_fetched_is_refused_and_not_quoted(extra: str) -> None:
    with pytest.raises(StoreError) as caught:
        GitHubAppCredential.parse(f"app_id=12 installation_id=34 {extra}")
    assert "canary" not in str(caught.value)


def test_its_api_is_githubs_and_its_key_is_checked() -> None:
    made = GitHubAppCredential.parse("app_id=12 installation_id=34 key={pem}")
    assert (made.api, made.secrets) == ("https://api.github.com", {"pem"})
    made.check({"pem": rsa_pem()})
    with pytest.raises(oo.DoubleOError, match="no private key"):
        made.check({"pem": "x"})
