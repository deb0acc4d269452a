from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest

import oo
from oo.gateway.credentials.gcp import GcpServiceAccountCredential
from oo.gateway.errors import StoreError
from tests.support.credential_tools import Asked, TokenServer, Tools
from tests.support.private_keys import read_jwt, rsa_pem

REQUEST = oo.Request("GET", "http://upstream/")
CLIENT = "me@project.iam.gserviceaccount.com"


class Google:
    """Exchanges assertions for tokens that live an hour. `claims` holds what was asserted."""

    def __init__(self) -> None:
        self.claims: list[dict[str, object]] = []

    def __call__(self, asked: Asked) -> tuple[int, object]:
        header, claims = read_jwt(asked.form["assertion"], rsa_pem())
        if asked.form["grant_type"] != "urn:ietf:params:oauth:grant-type:jwt-bearer" or claims["iss"] != CLIENT:
            return 400, {"error": "invalid_grant"}
        self.claims.append({**header, **claims})
        return 200, {"access_token": f"ya29.{len(self.claims)}", "expires_in": 3599, "token_type": "Bearer"}


@pytest.fixture
async def google() -> AsyncIterator[TokenServer]:
    async with TokenServer(Google()) as server:
        yield server


def key_file(token_uri: str = "https://oauth2.googleapis.com/token", **fields: object) -> str:
    return json.dumps(
        {
            "type": "service_account",
            "client_email": CLIENT,
            "private_key": rsa_pem(),
            "private_key_id": "kid-1",
            "token_uri": token_uri,
            **fields,
        }
    )


async def test_an_assertion_is_exchanged_for_a_token(google: TokenServer, tools: Tools) -> None:
    made, got = GcpServiceAccountCredential.parse("key={json} scope='a b' subject=user@h"), []
    values = {"json": key_file(f"{google.url}/token")}
    for seconds in (0, 2800, 100):
        tools.io.advance(seconds)
        got.append((await made.apply(REQUEST, values, tools)).headers["Authorization"])
    assert got == ["Bearer ya29.1", "Bearer ya29.1", "Bearer ya29.2"]
    now = int(tools.began)
    assert google.answer.claims[0] == {  # type: ignore[attr-defined]  # a Google
        "alg": "RS256",
        "typ": "JWT",
        "kid": "kid-1",
        "iss": CLIENT,
        "sub": "user@h",
        "scope": "a b",
        "aud": f"{google.url}/token",
        "iat": now,
        "exp": now + 3600,
    }
    assert tools.hidden == {"ya29.1", "ya29.2"}


async def test_the_route_may_say_where_it_is_exchanged(google: TokenServer, tools: Tools) -> None:
    made = GcpServiceAccountCredential.parse(f"key={{json}} scope=a token_url={google.url}/other")
    values = {"json": key_file(private_key_id="")}
    await made.apply(REQUEST, values, tools)
    assert google.asked[0].path == "/other"
    (claims,) = google.answer.claims  # type: ignore[attr-defined]  # a Google
    assert (claims["aud"], "kid" in claims, "sub" in claims) == ("https://oauth2.googleapis.com/token", False, False)


@pytest.mark.parametrize(
    "text",
    [
        "canary",
        "[]",
        "{}",
        "\ud800",
        key_file(client_email=None),
        key_file(private_key=["canary"]),
        key_file("file:///canary"),
        key_file(private_key="canary"),
    ],
    ids=range(8),  # a key is another one in each process
)
async def test_a_file_that_is_no_key_is_refused_and_not_quoted(text: str, tools: Tools) -> None:
    made = GcpServiceAccountCredential.parse("key={json} scope=a")
    with pytest.raises(oo.DoubleOError) as caught:
        made.check({"json": text})
    with pytest.raises(oo.DoubleOError) as again:
        await made.apply(REQUEST, {"json": text}, tools)
    assert caught.value.reason == again.value.reason == "argument"
    assert "canary" not in f"{caught.value} {again.value}"
    assert tools.sent == []


def test_a_key_file_is_checked_when_it_is_set() -> None:
    made = GcpServiceAccountCredential.parse("key={json} scope=a")
    made.check({"json": key_file()})
    assert (made.secrets, made.shown()) == ({"json"}, "gcp-service-account key={json} scope=a")


@pytest.mark.parametrize("text", ["key={json}", "key=canary scope=a", "key={json} scope=a token_url=canary"])
def test_what_can_never_be_fetched_is_refused_and_not_quoted(text: str) -> None:
    with pytest.raises(StoreError) as caught:
        GcpServiceAccountCredential.parse(text)
    assert "canary" not in str(caught.value)
