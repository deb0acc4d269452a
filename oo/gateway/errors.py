"""The gateway's errors."""

from __future__ import annotations

from collections.abc import Mapping


class StoreError(Exception):
    """A store cannot do what was asked. The text says why and holds no secret."""


class IntegrityError(StoreError):
    """A sealed record cannot be opened: it was changed, moved, or sealed with another key."""


class Refusal(Exception):
    """A request is refused with `status`. The caller is told `said`, the audit `outcome`."""

    def __init__(self, status: int, said: str, outcome: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(said)
        self.status = status
        self.said = said
        self.outcome = outcome
        self.headers = headers


class Conflict(Exception):
    """An idempotency key was used with another request (`status` 422), or its first call did not end in time (409)."""

    def __init__(self, status: int, said: str) -> None:
        super().__init__(said)
        self.status = status
        self.said = said
