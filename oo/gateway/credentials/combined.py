"""All that a route puts into its requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..._http.request import Request
from ..errors import StoreError
from .base import Credential, CredentialTools


class Credentials:
    """Some credentials in a row, those behind that sign what the others made. StoreError for two that set the same
    header or parameter."""

    def __init__(self, parts: Sequence[Credential]) -> None:
        self.parts = sorted(parts, key=lambda part: part.is_last)
        self.secrets = frozenset[str]().union(*(part.secrets for part in self.parts))
        """The names of the secrets that they need."""
        self.masked = frozenset[str]().union(*(part.masked for part in self.parts))
        """The names of those whose values are masked in all that comes back."""
        self.literals = tuple(text for part in self.parts for text in part.literals)
        """Their fixed texts. Where one holds the value of a stored secret, the route is to be refused."""
        self.urls = [url for part in self.parts for url in part.urls]
        """What they call to fetch something."""
        places = [place for part in self.parts if (place := part.sets) is not None]
        if twice := [place for place in places if places.count(place) > 1]:
            raise StoreError(f"{twice[0]} is set twice")

    async def apply(self, request: Request, values: Mapping[str, str], tools: CredentialTools) -> Request:
        """The request as it goes upstream. `values` holds those of all `secrets`; what may come back of them is
        hidden before any is used. DoubleOError where one is missing or cannot be sent."""
        tools.hide([values[name] for name in self.masked if name in values])
        for part in self.parts:
            request = await part.apply(request, values, tools)
        return request

    def check(self, values: Mapping[str, str]) -> None:
        """DoubleOError where these values could not be sent."""
        for part in self.parts:
            part.check(values)

    def refused(self, request: Request, values: Mapping[str, str], tools: CredentialTools) -> bool:
        """Told that the upstream answered what `apply` gave with 401: whether applying it anew may help."""
        helps = [part.refused(request, values, tools) for part in self.parts]  # each is told
        return any(helps)

    def shown(self) -> list[str]:
        """What of each may be shown."""
        return [part.shown() for part in self.parts]

    def __repr__(self) -> str:
        return f"<Credentials {', '.join(self.shown())}>"
