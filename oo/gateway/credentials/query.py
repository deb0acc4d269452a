"""A parameter of the query: `key={maps-key}`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote_plus

from ..._http.request import Request
from ...exceptions import DoubleOError
from ..errors import StoreError
from .base import Credential, CredentialTools
from .template import Template

if TYPE_CHECKING:
    from typing_extensions import Self

_PIECE = re.compile("(^|[&;])([^&;]*)")
_NAME = re.compile(r"[A-Za-z0-9._~$\[\]-]{1,128}")


class QueryCredential(Credential):
    """Adds a parameter to the query. The caller's own by that name are dropped."""

    kind = "query"

    def __init__(self, name: str, value: Template) -> None:
        super().__init__(value)
        if not _NAME.fullmatch(name):
            raise StoreError("what stands before '=' is no name of a parameter")
        if not value:
            raise StoreError(f"the parameter {name} has no text")
        self.name = name
        self.value = value

    @classmethod
    def parse(cls, text: str) -> Self:
        """`name=text {secret}`."""
        name, equals, value = text.partition("=")
        if not equals:
            raise StoreError("a parameter without '=' is no 'name=text'")
        return cls(name.strip(), Template(value))

    async def apply(self, request: Request, values: Mapping[str, str], tools: CredentialTools) -> Request:
        added = f"{quote(self.name, safe='')}={quote(self._rendered(values), safe='')}"
        address, _, query = request.url.partition("?")
        kept = without_parameters(query, [self.name])
        return request.replace(url=f"{address}?{kept}&{added}" if kept else f"{address}?{added}")

    @property
    def sets(self) -> str:
        return f"the parameter {self.name}"

    def check(self, values: Mapping[str, str]) -> None:
        self._rendered(values)

    def shown(self) -> str:
        return f"{self.kind} {self.name}={self.value.shown}"

    def _rendered(self, values: Mapping[str, str]) -> str:
        value = self.value.render(values)
        try:
            value.encode()
        except UnicodeEncodeError:
            pass
        else:
            return value
        raise DoubleOError(f"the text it adds as {self.name} cannot be in a query", reason="argument")


def without_parameters(query: str, names: Iterable[str]) -> str:
    """A query without some parameters, however their names are spelled. Some servers also split at ';'."""
    dropped = frozenset(map(_plain, names))
    kept = [""]
    for mark, piece in _PIECE.findall(query):
        if _plain(piece.partition("=")[0]) not in dropped:
            kept += [mark, piece]
    return "".join(kept).lstrip("&;")


def _plain(name: str) -> str:
    # Undone as often as a server behind a server may.
    for _ in range(3):
        if "%" not in name and "+" not in name:  # most have nothing to undo
            break
        name = unquote_plus(name)
    return name.strip().casefold()
