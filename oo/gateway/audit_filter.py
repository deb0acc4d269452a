"""Which lines of the audit somebody asks for. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from .._http.request import without_tokens
from .._http.response import parse_json
from ..exceptions import DoubleOError
from .errors import StoreError
from .rules import nearest, parse_duration

OUTCOMES = (
    *("allowed", "audit failed", "bad path", "bad request", "bad route", "begun", "broken off", "cut", "expired"),
    *("failed", "gone", "idempotency conflict", "left", "lost", "malformed", "no space", "no such place", "no token"),
    *("not allowed", "preflight", "rate", "revoked", "too busy", "too large", "too slow", "unavailable", "unknown"),
    *("unknown kind", "used up", "wrong kind", "upstream answer", "upstream connection", "upstream deadline"),
    *("upstream protocol", "upstream size", "upstream status", "upstream timeout", "upstream tls"),
)
"""The words for what came of a call. A plugin's error may add one behind "upstream"."""

_MANY = len(OUTCOMES)  # words that are shown of what is known


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

    def mistyped(self) -> list[str]:
        """What is to be said of an outcome that the gateway has no word for."""
        return self._unmatched(("outcome", self.outcome, OUTCOMES))

    def unmatched(self, lines: Iterable[str]) -> list[str]:
        """What is to be said where none of the lines has it: which value is none of theirs, and what is known."""
        tokens, routes, outcomes = set[Any](), set[Any](), set[Any](OUTCOMES)
        for _, line in AuditFilter().lines(lines):
            tokens.update((line.get("token_id"), line.get("label")))
            outcomes.add(line.get("outcome"))
            if line.get("kind") == "route":
                routes.add(line.get("target"))
        asked = (("token", self.token, tokens), ("route", self.route, routes), ("outcome", self.outcome, outcomes))
        return self._unmatched(*asked) or ["no call matches"]

    @staticmethod
    def _unmatched(*asked: tuple[str, str | None, Collection[Any]]) -> list[str]:
        said = []
        for option, value, known in asked:
            if value is not None and value not in known:
                words = sorted(str(word) for word in known if word)
                some = f"{', '.join(words[:_MANY])}{', ...' if len(words) > _MANY else ''}" or "none"
                shown = without_tokens(value)  # given whole, where its id was asked for
                said.append(f"no call matches --{option} {shown!r}{nearest(value, words) or f'; known are {some}'}")
        return said

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
