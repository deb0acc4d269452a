"""User and password: `{user}:{password}`."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..._core.masking import basic_values
from ..._http.request import Request
from ...exceptions import DoubleOError
from ..errors import StoreError
from .base import AUTHORIZATION, Credential, CredentialTools, with_header
from .template import Template

if TYPE_CHECKING:
    from typing_extensions import Self

_CONTROL = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")


class BasicCredential(Credential):
    """Sets `Authorization: Basic`, in UTF-8 (RFC 7617)."""

    kind = "basic"

    @classmethod
    def parse(cls, text: str) -> Self:
        """`user:password`, each a text, a `{secret}`, or both."""
        parts = Template(text).split(":")
        if parts is None:
            raise StoreError("without ':' there is no 'user:password'")
        if any(_CONTROL.search(literal) for part in parts for literal in part.literals):
            raise StoreError("a user or a password holds no control character")
        return cls(*parts)

    async def apply(self, request: Request, values: Mapping[str, str], tools: CredentialTools) -> Request:
        header = basic(*self._rendered(values))
        tools.hide(basic_values(header))
        return with_header(request, "Authorization", header)

    @property
    def sets(self) -> str:
        return AUTHORIZATION

    def check(self, values: Mapping[str, str]) -> None:
        self._rendered(values)

    def shown(self) -> str:
        return f"{self.kind} {':'.join(template.shown for template in self.templates)}"

    def _rendered(self, values: Mapping[str, str]) -> tuple[str, str]:
        user, password = (template.render(values) for template in self.templates)
        # RFC 7617, 2: the first colon ends the user, and neither holds a control character.
        if ":" in user or _CONTROL.search(user + password):
            raise DoubleOError("a value cannot be a user or a password of Basic credentials", reason="argument")
        return user, password


def basic(user: str, password: str) -> str:
    """The header's value (RFC 7617, 2)."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
