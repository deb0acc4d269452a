"""A signed assertion as a bearer token: `jwt alg=RS256 key={pem} iss=... aud=... ttl=...`."""

from __future__ import annotations

from collections.abc import Mapping

from ..._http.request import Request
from ..._http.response import JSON
from ..errors import StoreError
from .base import CredentialTools
from .bearer import FetchedBearer
from .signing import ALGORITHMS, check_key, signed_jwt
from .template import Template
from .token_source import FetchedToken


class JwtCredential(FetchedBearer):
    """Sends a JWT that it signs by RS256, ES256 or HS256. `ttl` is its life in seconds, 300 by default; one is used
    until 80 % of that are over."""

    kind = "jwt"
    required = "alg key"
    optional = "iss sub aud scope kid ttl"
    secret = "key"

    def __init__(self, options: Mapping[str, Template]) -> None:
        super().__init__(options)
        self.alg = self.literal("alg")
        if self.alg not in ALGORITHMS:
            raise StoreError(f"alg must be one of {', '.join(ALGORITHMS)}")
        self.private = "" if self.alg == "HS256" else "key"
        self.ttl = self.whole("ttl", 300, 86400)

    async def fetch(self, request: Request, values: Mapping[str, str], tools: CredentialTools) -> FetchedToken:
        given, now = self.rendered(values), int(tools.now())
        claims: dict[str, JSON] = {name: given[name] for name in ("iss", "sub", "aud", "scope") if name in given}
        claims |= {"iat": now, "exp": now + self.ttl}
        header = {"kid": given["kid"]} if "kid" in given else {}
        return FetchedToken(signed_jwt(self.alg, given["key"], claims, header), float(self.ttl))

    def check(self, values: Mapping[str, str]) -> None:
        check_key(self.alg, self.rendered(values)["key"])
