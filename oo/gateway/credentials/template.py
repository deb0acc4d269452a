"""Texts with placeholders for secrets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property

from ...exceptions import DoubleOError
from ..errors import StoreError
from ..models import NAME

_PART = re.compile(r"\{\{|\{([^{}]*)\}|\{")


class Template:
    """A text in which `{name}` stands for the value of a secret, and `{{` for a brace.

    StoreError for a brace that is not closed, and for a name that no secret can have; it never quotes the text.
    """

    def __init__(self, text: str) -> None:
        if not isinstance(text, str):
            raise StoreError("the text of a credential must be a string")
        self.text = text
        self._parts: list[tuple[str, bool]] = []  # the text, or a secret's name; whether it is a name
        start = 0
        for match in _PART.finditer(text):
            self._add(text[start : match.start()])
            start = match.end()
            name = match[1]
            if match[0] == "{{":
                self._add("{")
            elif name is None or not NAME.fullmatch(name):
                raise StoreError("a '{' is not closed, or holds no name of a secret; write '{{' for a brace")
            else:
                self._parts.append((name, True))
        self._add(text[start:])

    @cached_property
    def secrets(self) -> frozenset[str]:
        """The names of its secrets."""
        return frozenset(part for part, is_name in self._parts if is_name)

    @property
    def literals(self) -> tuple[str, ...]:
        """Its texts between the placeholders. None may hold the value of a secret."""
        return tuple(part for part, is_name in self._parts if not is_name)

    @property
    def secret(self) -> str | None:
        """The name of the secret that is all of it, or None."""
        return self._parts[0][0] if len(self._parts) == 1 and self._parts[0][1] else None

    @property
    def shown(self) -> str:
        """Its placeholders alone: a literal may be a key that somebody wrote down."""
        return "".join(f"{{{part}}}" if is_name else "..." for part, is_name in self._parts)

    def render(self, values: Mapping[str, str]) -> str:
        """The text with the values of its secrets; DoubleOError where one is missing."""
        with suppress(KeyError):
            return "".join([values[part] if is_name else part for part, is_name in self._parts])
        raise DoubleOError("a secret that it injects is missing", reason="argument")

    def split(self, mark: str) -> tuple[Template, Template] | None:
        """The templates before and behind the first `mark` that is in no placeholder; None where there is none."""
        before, behind = Template(""), Template("")
        for index, (part, is_name) in enumerate(self._parts):
            if not is_name and mark in part:
                head, _, tail = part.partition(mark)
                before._parts = [*self._parts[:index], *([(head, False)] if head else [])]
                behind._parts = [*([(tail, False)] if tail else []), *self._parts[index + 1 :]]
                return before, behind
        return None

    def __bool__(self) -> bool:
        return bool(self._parts)

    def __repr__(self) -> str:
        return f"<Template {self.shown}>"

    def _add(self, literal: str) -> None:
        if not literal:
            return
        if self._parts and not self._parts[-1][1]:
            literal = self._parts.pop()[0] + literal
        self._parts.append((literal, False))
