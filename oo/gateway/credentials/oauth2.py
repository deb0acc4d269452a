"""OAuth 2.0: client credentials, or a refresh token (RFC 6749, 4.4 and 6)."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote_plus, urlencode

from ..._http.headers import Headers
from ..._http.request import Request
from ..._http.response import Response
from ...exceptions import DoubleOError
from ..errors import StoreError
from .base import CredentialTools
from .basic import basic
from .bearer import FetchedBearer
from .template import Template
from .token_source import FetchedToken, answer_of, ask, life_of, token_of, token_request

_FORM = ("Content-Type", "application/x-www-form-urlencoded")
# With these the server knew the client (RFC 6749, 5.2); to authenticate in another way would change nothing.
_AUTHENTICATED = ("invalid_grant", "invalid_scope", "unauthorized_client", "unsupported_grant_type")


class OAuth2Credential(FetchedBearer):
    """Sends an access token that it fetches from `token_url`.

    The grant is client credentials, or `refresh_token`, whose successor is kept as a new version of its secret. The
    client authenticates by Basic, and where the server will not have that, in the form; `auth=basic` or `auth=body`
    says which.
    """

    kind = "oauth2"
    required = "token_url client_id"
    optional = "client_secret refresh_token scope audience resource auth"
    secret = "client_secret refresh_token"

    def __init__(self, options: Mapping[str, Template]) -> None:
        super().__init__(options)
        self.token_url = self.url("token_url")
        self._auth = self.literal("auth", "auto")
        if self._auth not in ("auto", "basic", "body"):
            raise StoreError("auth must be basic or body")
        if not {"client_secret", "refresh_token"} & options.keys():
            raise StoreError("oauth2 needs client_secret, refresh_token, or both")

    async def fetch(self, request: Request, values: Mapping[str, str], tools: CredentialTools) -> FetchedToken:
        given = self.rendered(values)
        response = await self._asked(request, given, tools)
        value, said = token_of(response, "the token endpoint")
        if str(said.get("token_type", "bearer")).lower() != "bearer":
            # RFC 6749, 7.1: a token of a type that is not understood is not used.
            raise DoubleOError("the token endpoint answered with a token that is no bearer token", reason="status")
        token = FetchedToken(value, life_of(said.get("expires_in")))
        rotated = said.get("refresh_token")
        if "refresh_token" in given and isinstance(rotated, str) and rotated and rotated != given["refresh_token"]:
            await self._rotate(rotated, token, values, tools)
        return token

    async def _rotate(
        self, rotated: str, token: FetchedToken, values: Mapping[str, str], tools: CredentialTools
    ) -> None:
        # RFC 6749, 6: the old one is discarded.
        name = self.options["refresh_token"].secret or ""
        tools.hide([rotated])
        # In this order: whoever finds the new version finds the access token that came with it.
        self.tokens.keep(self.key({**values, name: rotated}), token)
        await tools.store_version(name, rotated)

    async def _asked(self, request: Request, given: Mapping[str, str], tools: CredentialTools) -> Response:
        if self._auth == "body":
            return await ask(self._request(request, given, in_form=True), tools)
        response = await ask(self._request(request, given, in_form=False), tools)
        if response.status in (400, 401) and self._auth == "auto":
            if answer_of(response).get("error") in _AUTHENTICATED:
                return response
            response = await ask(self._request(request, given, in_form=True), tools)
            if 200 <= response.status < 300:
                self._auth = "body"
        elif 200 <= response.status < 300:
            self._auth = "basic"
        return response

    def _request(self, request: Request, given: Mapping[str, str], *, in_form: bool) -> Request:
        grant = "refresh_token" if "refresh_token" in given else "client_credentials"
        form = {"grant_type": grant}
        form |= {name: given[name] for name in ("refresh_token", "scope", "audience", "resource") if name in given}
        headers = [_FORM, ("Accept", "application/json")]
        if in_form or "client_secret" not in given:  # RFC 6749, 3.2.1: a public client names itself
            form |= {name: given[name] for name in ("client_id", "client_secret") if name in given}
        else:
            # RFC 6749, 2.3.1: both are encoded as in a form first.
            pair = quote_plus(given["client_id"]), quote_plus(given["client_secret"])
            headers.append(("Authorization", basic(*pair)))
        asked = token_request(request, "POST", self.token_url)
        return asked.replace(headers=Headers(headers), body=urlencode(form).encode())
