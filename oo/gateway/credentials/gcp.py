"""A Google service account: `gcp-service-account key={json} scope=...`."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode

from ..._http.headers import Headers
from ..._http.request import Request
from ..._http.response import JSON, parse_json
from ..._http.urls import base_url
from ...exceptions import DoubleOError
from .base import CredentialTools
from .bearer import FetchedBearer
from .signing import check_key, signed_jwt
from .template import Template
from .token_source import FetchedToken, ask, life_of, token_of, token_request

_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"  # RFC 7523, 2.1
_TOKEN_URL = "https://oauth2.googleapis.com/token"
_LIFE = 3600  # seconds of an assertion, the most that Google takes


class GcpServiceAccountCredential(FetchedBearer):
    """Sends an access token of a service account, whose `key` is the JSON file that Google gives out. `subject` is the
    user to act for; `token_url` stands in the place of the file's own."""

    kind = "gcp-service-account"
    required = "key scope"
    optional = "subject token_url"
    secret = private = "key"

    def __init__(self, options: Mapping[str, Template]) -> None:
        super().__init__(options)
        self.token_url = self.url("token_url") if "token_url" in options else ""

    async def fetch(self, request: Request, values: Mapping[str, str], tools: CredentialTools) -> FetchedToken:
        given, now = self.rendered(values), int(tools.now())
        account = _account(given["key"])
        url = self.token_url or account["token_uri"]
        claims: dict[str, JSON] = {"iss": account["client_email"], "scope": given["scope"], "aud": account["token_uri"]}
        claims |= {"iat": now, "exp": now + _LIFE, **({"sub": given["subject"]} if "subject" in given else {})}
        header = {"kid": account["private_key_id"]} if account["private_key_id"] else {}
        assertion = signed_jwt("RS256", account["private_key"], claims, header)
        form = urlencode({"grant_type": _GRANT, "assertion": assertion}).encode()
        headers = Headers({"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"})
        response = await ask(token_request(request, "POST", url).replace(headers=headers, body=form), tools)
        token, said = token_of(response, "the token endpoint")
        return FetchedToken(token, life_of(said.get("expires_in")))

    def check(self, values: Mapping[str, str]) -> None:
        check_key("RS256", _account(self.rendered(values)["key"])["private_key"])


def _account(text: str) -> dict[str, str]:
    """The fields of a key's file; DoubleOError where it is none."""
    try:
        said = parse_json(text.encode("utf-8", "replace"))
    except DoubleOError:
        said = None
    fields = {"token_uri": _TOKEN_URL, "private_key_id": "", **(said if isinstance(said, dict) else {})}
    names = ("client_email", "private_key", "private_key_id", "token_uri")
    account = {name: fields[name] for name in names if isinstance(fields.get(name), str)}
    try:
        base_url(account.get("token_uri", "").partition("?")[0])
    except ValueError:
        account = {}
    if len(account) < len(names):
        raise DoubleOError("the key is no JSON file of a service account", reason="argument")
    return account
