"""Which lines of the audit somebody asks for. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from .._http.response import parse_json
from ..exceptions import DoubleOError
from .errors import StoreError
from .rules import parse_duration


@dataclass(frozen=True)
class AuditFilter:
    """What a line must have. `since` is an instant in ISO 8601, in UTC, as the lines have it; `token` an id or a
    label; `route` a route's name; `outcome` a word. What is None may be anything."""

    since: str | None = None
    token: str | None = None
    route: str | None = None
    outcome: str | None = None

    def lines(self, lines: Iterable[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """The lines that have it, each also as an object."""
        for line in lines:
            try:
                found = parse_json(line.encode())
            except DoubleOError:
                continue
            if isinstance(found, dict) and self.has(found):
                yield line, found

    def has(self, line: Mapping[str, Any]) -> bool:
        """Whether a line has it."""
        return (
            (self.since is None or str(line.get("time") or "") >= self.since)
            and self.token in (None, line.get("token_id"), line.get("label"))
            and (self.route is None or (line.get("kind"), line.get("target")) == ("route", self.route))
            and self.outcome in (None, line.get("outcome"))
        )


def instant(text: str, now: float) -> str:
    """The instant of a text, as the audit writes it: so long ago (`90m`), or a date or a time in ISO 8601, which is
    local unless it says otherwise. StoreError for another."""
    try:
        moment = datetime.fromtimestamp(now - parse_duration(text), timezone.utc)
    except StoreError:
        try:
            moment = datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(timezone.utc)
        except (ValueError, OverflowError):
            raise StoreError(
                f"{text!r} is neither a time ago such as 90m, nor a time such as 2026-01-31T12:00"
            ) from None
    return moment.isoformat(timespec="milliseconds")
