"""Options of a credential: `token_url=... client_id={id} scope="a b"`."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..._http.urls import base_url
from ..errors import StoreError
from .base import Credential
from .template import Template

if TYPE_CHECKING:
    from typing_extensions import Self


class OptionsCredential(Credential):
    """A credential that is set by options, each `name=text {secret}`, in quotes where it holds a space.

    `required`, `optional` and `secret` name the options of a kind; `secret` ones must be all placeholder, and
    `private` ones are keys that sign and are themselves sent to nobody.
    """

    required: str = ""
    optional: str = ""
    secret: str = ""
    private: str = ""

    def __init__(self, options: Mapping[str, Template]) -> None:
        super().__init__(*options.values())
        self.options = options
        self._urls: list[str] = []

    @classmethod
    def parse(cls, text: str) -> Self:
        """The options of the kind; StoreError for one that is unknown, given twice or missing."""
        options: dict[str, Template] = {}
        for word in _words(text):
            name, equals, value = word.partition("=")
            if not equals or name not in [*cls.required.split(), *cls.optional.split()]:
                # What was given may be a key, and is not said again.
                raise StoreError(f"an option of {cls.kind} is none of {cls.required} {cls.optional}".rstrip())
            if name in options or not value:
                raise StoreError(f"{name} is given twice, or has no text")
            options[name] = Template(value)
            if name in cls.secret.split() and options[name].secret is None:
                raise StoreError(f"{name} must be a secret's name in braces")
        if missing := [name for name in cls.required.split() if name not in options]:
            raise StoreError(f"{cls.kind} needs {', '.join(missing)}")
        return cls(options)

    @property
    def masked(self) -> frozenset[str]:
        private = self.private.split()
        return frozenset().union(*(each.secrets for name, each in self.options.items() if name not in private))

    def rendered(self, values: Mapping[str, str]) -> dict[str, str]:
        """The options with the values of their secrets; DoubleOError where one is missing."""
        return {name: template.render(values) for name, template in self.options.items()}

    def literal(self, name: str, default: str = "") -> str:
        """An option that holds no secret; StoreError where it does."""
        template = self.options.get(name, Template(default))
        if template.secrets:
            raise StoreError(f"{name} cannot be a secret")
        return template.render({})

    def url(self, name: str, default: str = "") -> str:
        """An option that is an http(s) URL; StoreError where it is none."""
        url = self.literal(name, default)
        try:
            base_url(url.partition("?")[0])  # RFC 6749, 3.2: the token endpoint may have a query
        except ValueError as error:
            raise StoreError(str(error).replace("the base URL", name)) from None
        self._urls.append(url)
        return url

    @property
    def urls(self) -> tuple[str, ...]:
        return tuple(self._urls)

    def whole(self, name: str, default: int, most: int) -> int:
        """An option that is a whole number of seconds, from 1 to `most`; StoreError where it is none."""
        text = self.literal(name, str(default))
        if not text.isdecimal() or len(text) > 9 or not 1 <= int(text) <= most:
            raise StoreError(f"{name} must be a whole number from 1 to {most}")
        return int(text)

    def shown(self) -> str:
        # Those that must be secret are placeholders alone; a URL's query may hold a key.
        shown = (f"{name}={template.text.partition('?')[0]}" for name, template in self.options.items())
        return " ".join([self.kind, *shown])


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        pass
    raise StoreError("a quote is not closed")
