"""The kinds of credentials by their names."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from importlib import import_module
from typing import cast

from ..errors import StoreError, UnknownKind
from .base import Credential
from .combined import Credentials

KINDS: Mapping[str, str] = {
    "header": "header.HeaderCredential",
    "query": "query.QueryCredential",
    "basic": "basic.BasicCredential",
    "path": "path.PathCredential",
    "oauth2": "oauth2.OAuth2Credential",
    "sigv4": "sigv4.SigV4Credential",
    "jwt": "jwt.JwtCredential",
    "github-app": "github_app.GitHubAppCredential",
    "gcp-service-account": "gcp.GcpServiceAccountCredential",
}
"""The kinds of this library: where the class of each stands."""

_NAME = re.compile(r"(?=.{1,32}\Z)[a-z]+[0-9]{0,3}(-[a-z]+[0-9]{0,3})*")  # as of a kind, and hardly of a key


class Registry:
    """The kinds of this library, and those that plugins add. StoreError for an added one whose name is taken or that is
    none."""

    def __init__(self, added: Iterable[object] = ()) -> None:
        self._added: dict[str, type[Credential]] = {}
        for kind in added:
            if not isinstance(kind, type) or not issubclass(kind, Credential):
                raise StoreError("what a plugin adds as a kind of credentials is no subclass of Credential")
            if kind.kind in KINDS or kind.kind in self._added:
                raise StoreError(f"there is a kind of credentials {kind.kind!r} already")
            self._added[kind.kind] = kind
        self.of = lru_cache(1024)(self._of)
        """`of(texts)`: the credentials of a route. The same object for the same texts: it holds what it fetched."""

    @property
    def kinds(self) -> list[str]:
        """The names of all kinds."""
        return [*KINDS, *self._added]

    def load(self, names: Collection[str] | None = None) -> Registry:
        """Import what the kinds of these names stand on, or all, so that no call has to wait for it. A name that is no
        kind's is left out. Returns the registry."""
        for name in self.kinds:
            if names is None or name in names:
                self.kind(name)
        return self

    def kind(self, name: str) -> type[Credential]:
        """The class of a kind; UnknownKind where there is none."""
        if name in self._added:
            return self._added[name]
        if name not in KINDS:
            raise UnknownKind(name if _NAME.fullmatch(name) else "", self.kinds)
        module, _, attribute = KINDS[name].partition(".")
        return cast("type[Credential]", getattr(import_module(f".{module}", __package__), attribute))

    def parse(self, text: str) -> Credential:
        """The credential of a text: its kind's name, a space, and what the kind takes. StoreError where it can never be
        sent."""
        name, _, option = text.partition(" ")
        if not {"{", "="} & set(option) and name not in self.kinds:  # it may be a key
            name = ""
        return self.kind(name).parse(option)

    def _of(self, texts: tuple[str, ...]) -> Credentials:
        return Credentials([self.parse(text) for text in texts])
