"""A header with secrets in it: `Authorization: Bearer {openai-key}`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..._core.masking import basic_values
from ..._http import headers
from ..._http.request import Request
from ...exceptions import DoubleOError
from ..errors import StoreError
from ..header_rules import HOP_BY_HOP
from ..header_rules import plain as plain_name
from .base import Credential, CredentialTools, with_header
from .template import Template

if TYPE_CHECKING:
    from typing_extensions import Self

# What frames the message is the transport's to say, and an encoding that it does not undo would pass the mask.
_REFUSED = HOP_BY_HOP | {"accept-encoding", "content-encoding", "content-length", "expect", "host", "http2-settings"}
_LITERAL = re.compile("[ -~]*")
_VALUE = re.compile("[!-~](?:[ -~]*[!-~])?")


class HeaderCredential(Credential):
    """Sets a header, in the place of any of the caller's own by that name."""

    kind = "header"

    def __init__(self, name: str, value: Template) -> None:
        super().__init__(value)
        if not headers.NAME.fullmatch(name):
            raise StoreError("what stands before ':' is no name of a header")
        if plain_name(name) in _REFUSED:
            raise StoreError(f"{name} frames the message or is for one hop alone, and cannot be injected")
        if not value or not all(map(_LITERAL.fullmatch, value.literals)):
            raise StoreError(f"the text to be injected as {name} cannot be a header")
        self.name = name
        self.value = value
        self._last: tuple[Mapping[str, str] | None, str, list[str]] = (None, "", [])

    @classmethod
    def parse(cls, text: str) -> Self:
        """`Header: text {secret}`."""
        name, colon, value = text.partition(":")
        if not colon:
            raise StoreError("a header without ':' is no 'Header: text'")
        return cls(name.strip(), Template(value.strip()))

    async def apply(self, request: Request, values: Mapping[str, str], tools: CredentialTools) -> Request:
        if self._last[0] != values:  # they seldom change, and to look whether they can be sent costs more
            value = self._rendered(values)
            self._last = {**values}, value, basic_values(value)
        _, value, hidden = self._last
        tools.hide(hidden)
        return with_header(request, self.name, value)

    @property
    def sets(self) -> str:
        return f"the header {plain_name(self.name)}"

    def check(self, values: Mapping[str, str]) -> None:
        self._rendered(values)

    def shown(self) -> str:
        return f"{self.kind} {self.name}: {self.value.shown}"

    def _rendered(self, values: Mapping[str, str]) -> str:
        value = self.value.render(values)
        if not _VALUE.fullmatch(value):
            raise DoubleOError(f"the text it injects as {self.name} cannot be a header", reason="argument")
        return value
