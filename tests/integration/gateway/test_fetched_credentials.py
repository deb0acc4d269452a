"""Credentials that are fetched or signed, over real connections: when a token is fetched, and what becomes of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from oo.gateway.models import Upstream
from oo.gateway.vault import Vault
from oo.testing import temporary_vault
from tests.support.chains import Chain, Guarded
from tests.support.credential_tools import Asked, TokenServer
from tests.support.faults import nobody
from tests.support.private_keys import ec_pem, read_jwt, rsa_pem

ID = "client-id-4711"
SECRET = "client secret/of+ours"
CLIENT = "oauth2 token_url={url}/token client_id={{id}} client_secret={{secret}} scope=a"
REFRESH = "oauth2 token_url={url}/token client_id={{id}} refresh_token={{refresh}}"


class OAuth(TokenServer):
    """Gives out `access-token-1`, `-2`, ..., which live 100 s, and takes each refresh token once."""

    def __init__(self, refresh: str = "", rotates: bool = True) -> None:
        super().__init__(self.grant)
        self.refresh = refresh
        self.rotates = rotates
        self.count = 0
        self.hold: asyncio.Event | None = None

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if self.hold is not None:
            await self.hold.wait()
        return await super().handle(request)

    def grant(self, asked: Asked) -> tuple[int, object]:
        if self.refresh:
            if asked.form.get("refresh_token") != self.refresh:
                return 400, {"error": "invalid_grant", "error_description": asked.form.get("refresh_token")}
        elif asked.basic != (ID, SECRET):
            return 401, {"error": "invalid_client", "error_description": f"{asked.basic}"}
        self.count += 1
        said = {"access_token": self.token(self.count), "token_type": "Bearer", "expires_in": 100}
        if self.refresh and self.rotates:
            said["refresh_token"] = self.refresh = f"refresh-token-{self.count + 1}"
        return 200, said

    def token(self, number: int) -> str:
        return f"access-token-{number}"


@pytest.fixture
async def vault() -> AsyncIterator[Vault]:
    async with temporary_vault() as vault:
        for name, value in {"id": ID, "secret": SECRET, "refresh": "refresh-token-1"}.items():
            await vault.put_secret(name, value)
        yield vault


@pytest.fixture
async def chain(vault: Vault) -> AsyncIterator[Chain]:
    async with Chain(vault) as chain:
        yield chain


async def test_fifty_calls_at_once_fetch_one_token_which_none_of_them_gets_to_see(chain: Chain) -> None:
    async with OAuth() as oauth, Guarded("access-token-1") as upstream:
        await chain.route(upstream.url, CLIENT.format(url=oauth.url))
        answers = await asyncio.gather(*(chain.call() for _ in range(50)))
        assert [answer.status for answer in answers] == [200] * 50
        assert oauth.count == len(oauth.asked) == 1
        assert {asked.headers["authorization"] for asked in upstream.asked} == {"Bearer access-token-1"}
        for answer in answers:
            assert answer.json()["headers"]["authorization"] == "Bearer ***"
            assert not [value for value in (ID, SECRET, "access-token") if value in str(answer.body)]


async def test_a_token_is_fetched_anew_at_four_fifths_of_its_life(chain: Chain) -> None:
    async with OAuth() as oauth, Guarded("access-token-1", "access-token-2") as upstream:
        await chain.route(upstream.url, CLIENT.format(url=oauth.url))
        fetched = []
        for seconds in (0, 79.9, 0.2, 79):
            chain.clock.advance(seconds)
            assert (await chain.call()).status == 200
            fetched.append(oauth.count)
        assert fetched == [1, 1, 2, 2]


@pytest.mark.parametrize(("method", "body"), [("GET", None), ("POST", b"the body")])
async def test_a_refused_token_is_fetched_anew_and_the_call_made_again_once(
    chain: Chain, method: str, body: bytes | None
) -> None:
    async with OAuth() as oauth, Guarded("access-token-1") as upstream:
        await chain.route(upstream.url, CLIENT.format(url=oauth.url))
        assert (await chain.call(method=method, body=body)).status == 200
        upstream.tokens = {"access-token-2"}
        assert (await chain.call(method=method, body=body)).status == 200
        assert (oauth.count, len(upstream.asked)) == (2, 3)
        # One that is refused all the time is not fetched for every call.
        upstream.tokens = set()
        for _ in range(3):
            assert (await chain.call(method=method, body=body)).status == 401
        assert oauth.count == 2
        chain.clock.advance(11)
        assert (await chain.call(method=method, body=body)).status == 401
        assert (oauth.count, chain.notes.outcomes) == (3, ["allowed"] * 6)


async def test_a_rotated_refresh_token_is_kept_as_a_new_version(chain: Chain) -> None:
    async with OAuth("refresh-token-1") as oauth, Guarded("access-token-1", "access-token-2") as upstream:
        await chain.route(upstream.url, REFRESH.format(url=oauth.url))
        assert (await chain.call()).status == 200
        assert await chain.vault.secret("refresh") == "refresh-token-2"
        assert len(await chain.vault.versions("refresh")) == 2
        assert (await chain.call()).status == 200
        assert oauth.count == 1  # the token goes with the new version too
        chain.clock.advance(81)
        assert (await chain.call()).status == 200
        assert (oauth.count, await chain.vault.secret("refresh")) == (2, "refresh-token-3")


async def test_what_was_rotated_is_kept_where_the_caller_has_left(chain: Chain) -> None:
    async with OAuth("refresh-token-1") as oauth, Guarded("access-token-1") as upstream:
        await chain.route(upstream.url, REFRESH.format(url=oauth.url))
        oauth.hold = asyncio.Event()
        leaving = asyncio.create_task(chain.call())
        while not chain.stack._background._tasks:
            await asyncio.sleep(0.01)
        leaving.cancel()
        await asyncio.wait([leaving])
        oauth.hold.set()
        assert (await chain.call()).status == 200
        assert (oauth.count, await chain.vault.secret("refresh")) == (1, "refresh-token-2")


async def test_what_another_process_rotated_meanwhile_is_read_anew(chain: Chain) -> None:
    class Late(OAuth):
        """Another process comes first."""

        async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
            if not self.asked:
                await chain.vault.put_secret("refresh", "refresh-token-2")
            return await super().handle(request)

    async with Late("refresh-token-2", rotates=False) as oauth, Guarded("access-token-1") as upstream:
        await chain.route(upstream.url, REFRESH.format(url=oauth.url))
        assert (await chain.call()).status == 200
        assert [asked.form["refresh_token"] for asked in oauth.asked] == ["refresh-token-1"] * 1 + ["refresh-token-2"]


async def test_a_fetch_that_fails_says_why_without_what_was_sent(chain: Chain) -> None:
    await chain.vault.put_secret("secret", "a-wrong-secret")
    async with OAuth() as oauth, Guarded() as upstream:
        await chain.route(upstream.url, CLIENT.format(url=oauth.url))
        answer = await chain.call()
        assert (answer.status, upstream.asked) == (502, [])
        assert "the token endpoint answered with status 401 and invalid_client" in str(answer.json())
        assert not [value for value in (ID, SECRET, "a-wrong-secret") if value in str(answer.body)]


async def test_where_nothing_answers_it_is_said_whose_fault_that_is(chain: Chain) -> None:
    with nobody() as nowhere:
        async with Guarded() as upstream:
            await chain.route(upstream.url, CLIENT.format(url=nowhere))
            answer = await chain.call()
            assert (answer.status, upstream.asked) == (502, [])
            assert "what it fetches a token from failed: connection refused" in str(answer.json())
            assert chain.notes.outcomes == ["upstream status"]


@pytest.mark.parametrize(
    "said", [{}, {"access_token": "two words"}, {"access_token": "a-token-of-theirs", "token_type": "mac"}, b"no JSON"]
)
async def test_a_server_of_tokens_that_fails_is_no_failure_of_the_upstreams(chain: Chain, said: object) -> None:
    async with TokenServer(lambda _: (200, said)) as tokens, Guarded("never") as one, Guarded("never") as other:
        await chain.route(one.url, CLIENT.format(url=tokens.url), others=(Upstream(other.url),))
        upstreams = []
        for _ in range(12):
            assert (await chain.call()).status == 502
            upstreams.append(chain.notes.ended[-1]["upstream"])
        assert upstreams == [one.url, other.url] * 6  # neither rests
        assert chain.notes.outcomes == ["upstream status"] * 12


async def test_a_token_is_fetched_from_where_the_route_may_call_alone(chain: Chain) -> None:
    async with OAuth() as oauth:
        await chain.route("https://192.0.2.1", CLIENT.format(url=oauth.url), allow_private=False)
        answer = await chain.call()
        assert (answer.status, oauth.asked) == (502, [])
        assert "its address is private" in str(answer.json())


class GitHub(TokenServer):
    """An API of GitHub's shape: gives an installation's tokens to its app, and answers to those."""

    def __init__(self, key: str) -> None:
        super().__init__(self.serve)
        self.key = key

    def serve(self, asked: Asked) -> tuple[int, object]:
        bearer = asked.headers["authorization"].removeprefix("Bearer ")
        if asked.path == "/api/v3/app/installations/42/access_tokens":
            _, claims = read_jwt(bearer, self.key)
            ok = asked.method == "POST" and claims["iss"] == "1234" and claims["exp"] - claims["iat"] <= 600
            return (201, {"token": "ghs_installation", "expires_at": "2099-01-01T00:00:00Z"}) if ok else (401, {})
        return (200 if bearer == "ghs_installation" else 401), {"authorization": bearer}


async def test_a_github_app_gets_its_installations_token(chain: Chain) -> None:
    await chain.vault.put_secret("pem", rsa_pem())
    async with GitHub(rsa_pem()) as github:
        text = f"github-app app_id=1234 installation_id=42 key={{pem}} api={github.url}/api/v3"
        await chain.route(f"{github.url}/api/v3", text)
        for _ in range(2):
            answer = await chain.call("repos/a/b")
            assert (answer.status, answer.json()) == (200, {"authorization": "***"})
        assert [asked.path for asked in github.asked] == [
            *("/api/v3/app/installations/42/access_tokens", "/api/v3/repos/a/b", "/api/v3/repos/a/b"),
        ]


class Google(TokenServer):
    """Exchanges a service account's assertions, and answers to the tokens."""

    def __init__(self, key: str) -> None:
        super().__init__(self.serve)
        self.key = key

    def serve(self, asked: Asked) -> tuple[int, object]:
        if asked.path == "/token":
            header, claims = read_jwt(asked.form["assertion"], self.key)
            assert (header["kid"], claims["iss"], claims["scope"]) == ("key-1", "robot@example.iam", "a b")
            return 200, {"access_token": "ya29.access", "expires_in": 3599}
        return (200 if asked.headers["authorization"] == "Bearer ya29.access" else 401), {"headers": asked.headers}


async def test_a_google_service_account_exchanges_its_assertion(chain: Chain) -> None:
    async with Google(rsa_pem()) as google:
        account = {"client_email": "robot@example.iam", "private_key": rsa_pem(), "private_key_id": "key-1"}
        await chain.vault.put_secret("account", json.dumps({**account, "token_uri": f"{google.url}/token"}))
        await chain.route(google.url, 'gcp-service-account key={account} scope="a b"')
        for _ in range(2):
            answer = await chain.call()
            assert (answer.status, answer.json()["headers"]["authorization"]) == (200, "Bearer ***")
        assert [asked.path for asked in google.asked] == ["/token", "/x", "/x"]


@pytest.mark.parametrize(
    ("alg", "key"), [("RS256", rsa_pem), ("ES256", ec_pem), ("HS256", lambda: "a-shared-secret-of-32-bytes-or-more")]
)
async def test_a_jwt_is_signed_and_used_until_four_fifths_of_its_life(chain: Chain, alg: str, key: Any) -> None:
    await chain.vault.put_secret("key", key())
    seen: list[tuple[dict[str, Any], dict[str, Any]]] = []

    def check(asked: Asked) -> tuple[int, object]:
        seen.append(read_jwt(asked.headers["authorization"].removeprefix("Bearer "), key()))
        return 200, {"headers": asked.headers}

    async with TokenServer(check) as upstream:
        await chain.route(upstream.url, f"jwt alg={alg} key={{key}} iss=me aud=them ttl=50")
        for seconds in (0, 39):
            chain.clock.advance(seconds)
            answer = await chain.call()
            assert answer.json()["headers"]["authorization"] == "Bearer ***"
        sent = {asked.headers["authorization"] for asked in upstream.asked}
        assert len(sent) == 1
        assert not [each for each in sent if each.removeprefix("Bearer ") in answer.body.decode()]
    header, claims = seen[0]
    assert (header["alg"], claims["iss"], claims["aud"], claims["exp"] - claims["iat"]) == (alg, "me", "them", 50)
