"""What a gateway says no with."""

from __future__ import annotations

from collections.abc import Mapping


class StoreError(Exception):
    """What was asked of a store cannot be done; the text says why and is fit to show."""


class IntegrityError(StoreError):
    """Something sealed does not open: it was changed, moved, or sealed with another key."""


class Refusal(Exception):
    """An answer other than success: a status, the words for the caller, the word for the audit."""

    def __init__(self, status: int, said: str, outcome: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(said)
        self.status = status
        self.said = said
        self.outcome = outcome
        self.headers = headers


class Conflict(Exception):
    """The key was used with another body (`status` 422), or its first call never ended (409)."""

    def __init__(self, status: int, said: str) -> None:
        super().__init__(said)
        self.status = status
        self.said = said
