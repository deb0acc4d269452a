"""A GitHub App: `github-app app_id=... installation_id=... key={pem}`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timezone

from ..._http.headers import Headers
from ..._http.request import Request
from ..._http.response import JSON
from ...exceptions import DoubleOError
from ..errors import StoreError
from .base import CredentialTools
from .bearer import FetchedBearer
from .signing import check_key, signed_jwt
from .template import Template
from .token_source import FetchedToken, ask, token_of, token_request

_DRIFT = 60  # seconds that GitHub's clock may be behind, as its documents have it
_LIFE = 540  # seconds of an assertion; GitHub takes 600 at most


class GitHubAppCredential(FetchedBearer):
    """Sends an installation's access token. It is fetched with an assertion that the app signs.

    `app_id` is the app's id or its client id. `api` is the API of a GitHub of one's own, such as
    `https://github.example/api/v3`.
    """

    kind = "github-app"
    required = "app_id installation_id key"
    optional = "api"
    secret = private = "key"

    def __init__(self, options: Mapping[str, Template]) -> None:
        super().__init__(options)
        self.api = self.url("api", "https://api.github.com").rstrip("/")
        if "?" in self.api:
            raise StoreError("api has no query")

    async def fetch(self, request: Request, values: Mapping[str, str], tools: CredentialTools) -> FetchedToken:
        given, now = self.rendered(values), int(tools.now())
        if not re.fullmatch("[0-9]{1,20}", given["installation_id"]):
            raise DoubleOError("installation_id is no number", reason="argument")
        claims = {"iat": now - _DRIFT, "exp": now + _LIFE, "iss": given["app_id"]}
        headers = Headers(
            [
                ("Authorization", f"Bearer {signed_jwt('RS256', given['key'], claims)}"),
                ("Accept", "application/vnd.github+json"),
                ("X-GitHub-Api-Version", "2022-11-28"),
            ]
        )
        url = f"{self.api}/app/installations/{given['installation_id']}/access_tokens"
        response = await ask(token_request(request, "POST", url).replace(headers=headers, body=b""), tools)
        token, said = token_of(response, "GitHub", "token")
        return FetchedToken(token, _life(said.get("expires_at"), tools.now()))

    def check(self, values: Mapping[str, str]) -> None:
        check_key("RS256", self.rendered(values)["key"])


def _life(expires: JSON, now: float) -> float:
    """Seconds until a time such as 2016-07-11T22:14:10Z; an hour, as GitHub's tokens live, where it is none."""
    try:
        at = datetime.strptime(str(expires), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)
    except ValueError:
        return 3600.0
    return min(max(at.timestamp() - now, 0.0), 86400.0)
