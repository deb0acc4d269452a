"""What the kinds share that fetch or make a bearer token (RFC 6750)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, Mapping

from ..._core.masking import SHORTEST
from ..._http.request import Request
from ...exceptions import DoubleOError
from ..rules import is_weak
from .base import AUTHORIZATION, CredentialTools, with_header
from .options import OptionsCredential
from .template import Template
from .token_source import FetchedToken, TokenSource


class FetchedBearer(OptionsCredential):
    """Sends `Authorization: Bearer` with a token that `fetch` gets. The token is kept until 80 % of its life are over,
    and fetched anew where the upstream refuses it. DoubleOError for one that is too short to be masked, unless the
    route takes such values."""

    def __init__(self, options: Mapping[str, Template]) -> None:
        super().__init__(options)
        self.tokens = TokenSource()
        self._names = sorted(self.secrets)

    @abstractmethod
    async def fetch(self, request: Request, values: Mapping[str, str], tools: CredentialTools) -> FetchedToken:
        """A new token; DoubleOError where none can be had."""

    async def apply(self, request: Request, values: Mapping[str, str], tools: CredentialTools) -> Request:
        token = await self.tokens.get(self.key(values), lambda: self.fetch(request, values, tools), request, tools)
        if is_weak(token) and not tools.allow_weak:
            raise DoubleOError(
                f"the token that was fetched is shorter than {SHORTEST} characters, too short to be masked in what the "
                "API sends back (`oo route update --allow-weak`)",
                reason="argument",
            )
        tools.hide([token])
        return with_header(request, "Authorization", f"Bearer {token}")

    @property
    def sets(self) -> str:
        return AUTHORIZATION

    def refused(self, request: Request, values: Mapping[str, str], tools: CredentialTools) -> bool:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        return self.tokens.refused(self.key(values), token, tools.io.now())

    def key(self, values: Mapping[str, str]) -> Hashable:
        """What a token is kept by: the values that it is fetched with, so that a changed secret fetches another."""
        return tuple([values.get(name) for name in self._names])
