"""Secrets in the path of the upstream: `https://api.telegram.org/bot{tg}`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from ..._http.request import Request
from ..._http.urls import base_url
from ...exceptions import DoubleOError
from ..errors import StoreError
from .base import Credential, CredentialTools
from .template import Template

if TYPE_CHECKING:
    from typing_extensions import Self

_SAFE = "/:@!$&'()*+,;=~-._"
_BAD = re.compile("[\x00-\x1f\x7f\\\\\ud800-\udfff]")


class PathCredential(Credential):
    """Puts secrets into the upstream's path. It changes requests to its own `upstream` alone, the text that it was
    parsed from, so that a route may have several upstreams."""

    kind = "path"

    def __init__(self, template: Template) -> None:
        super().__init__(template)
        self.template = template
        self.upstream = template.text.rstrip("/")
        # With one brace: as a template, "{{" is one.
        stands_for = template.render(dict.fromkeys(template.secrets, "x"))
        try:
            base_url(stands_for)
        except ValueError as error:
            raise StoreError(str(error).replace("base URL", "upstream")) from None
        scheme, _, rest = template.text.partition("://")
        if "{" in scheme or "{" in rest.partition("/")[0]:
            raise StoreError("the scheme and the host of an upstream hold no secret")
        self.origin = "{0.scheme}://{0.netloc}".format(urlsplit(stands_for))

    @classmethod
    def parse(cls, text: str) -> Self:
        """An upstream's URL with `{secret}` in its path."""
        return cls(Template(text))

    async def apply(self, request: Request, values: Mapping[str, str], tools: CredentialTools) -> Request:
        if request.base_url.rstrip("/") != self.upstream:
            return request
        rest = request.url[len(self.upstream) :]
        base = self._rendered(values)
        return request.replace(base_url=base, url=base + rest)

    def check(self, values: Mapping[str, str]) -> None:
        self._rendered(values)

    def shown(self) -> str:
        return f"{self.kind} {self.origin}/{self.template.shown}"

    def _rendered(self, values: Mapping[str, str]) -> str:
        given = {name: values[name] for name in self.secrets if name in values}
        if not any(map(_BAD.search, given.values())):
            base = self.template.render({name: quote(value, safe=_SAFE) for name, value in given.items()})
            # As a segment, `.` and `..` would lead elsewhere, and nothing to another path as well.
            if all(given.values()) and not {".", ".."} & {part.partition(";")[0] for part in base.split("/")}:
                return base.rstrip("/")
        raise DoubleOError("a value cannot be in a path", reason="argument")
