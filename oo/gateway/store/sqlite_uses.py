"""What is counted of a token in a vault's file: its uses, and what its rate's last charge gave.

All that is counted at the same time is counted at once: the row of each token is read once and written once.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ..._core.pipeline import run_sync
from .. import spending
from ..models import Denial, Kind, Token
from ..spending import Counted
from . import token_rows
from .records import expect
from .sqlite import places
from .sqlite_rows import SQLiteRecords


class Judged(NamedTuple):
    """A token that opens a thing of that kind, as it was when the epoch was this."""

    token: Token
    kind: Kind
    epoch: str | None


class Counts:
    """What is counted of some tokens, within one transaction: read by one statement, changed here, and written at its
    end (`write`)."""

    def __init__(self, records: SQLiteRecords, judged: Iterable[Judged]) -> None:
        self._records = records
        self._now = time.time()
        self._changed: dict[bytes, Counted] = {}
        hashes = list({bytes.fromhex(each.token.hash): None for each in judged})
        query = (
            f"WITH asked (hash) AS (VALUES {places(len(hashes), 1)})"  # noqa: S608
            " SELECT (SELECT value FROM meta WHERE name = 'epoch'), hash, used, tat"
            " FROM asked LEFT JOIN tokens USING (hash)"
        )
        rows = records.db.execute(query, hashes).fetchall()
        self._epoch = rows[0][0]
        # A token that was revoked meanwhile has none, and is denied by `still`.
        self._read = {row[1]: Counted(expect(int, row[2]), expect(float, row[3])) for row in rows if row[2] is not None}

    def still(self, judged: Judged) -> Denial | None:
        """What denies a use where an owner has changed something since its token was judged."""
        if judged.epoch == self._epoch:
            return None
        found = run_sync(token_rows.find(self._records, bytes.fromhex(judged.token.hash)))
        outcome = Denial("unknown") if found is None else found.opens(judged.kind, self._now)
        return outcome if isinstance(outcome, Denial) else None

    def consume(self, token: Token) -> Denial | None:
        """Count one use of a token that has a limit of them, or say that it has none left."""
        if token.uses is None:
            return None
        used, tat = self._of(token)
        if not spending.has_use(token, used):
            return token.denied("used up")
        self._put(token, Counted(used + 1, tat))
        return None

    def charge(self, token: Token) -> Denial | None:
        """Charge one call to a token's rate, or say that it comes too soon."""
        used, tat = self._of(token)
        outcome = spending.charge(token, tat, self._now)
        if isinstance(outcome, Denial):
            return outcome
        # A limit of uses counts by itself, in `consume`.
        self._put(token, Counted(used + (token.uses is None), outcome))
        return None

    def write(self) -> None:
        """Write what has changed."""
        rows = [(*counted, hashed) for hashed, counted in self._changed.items()]
        self._records.db.executemany("UPDATE tokens SET used = ?, tat = ? WHERE hash = ?", rows)

    def _of(self, token: Token) -> Counted:
        return self._read[bytes.fromhex(token.hash)]

    def _put(self, token: Token, counted: Counted) -> None:
        hashed = bytes.fromhex(token.hash)
        self._read[hashed] = self._changed[hashed] = counted


def charge_all(records: SQLiteRecords, asked: Sequence[Judged]) -> list[Denial | None]:
    """Charge one call to the rate of each, or say what denies it."""
    counts = Counts(records, asked)
    outcomes = [counts.still(each) or counts.charge(each.token) for each in asked]
    counts.write()
    return outcomes


def consume_all(records: SQLiteRecords, asked: Sequence[Judged]) -> list[Denial | None]:
    """Count one use of each that has a limit of them, or say what denies it."""
    counts = Counts(records, asked)
    outcomes = [counts.still(each) or counts.consume(each.token) for each in asked]
    counts.write()
    return outcomes


def counted(db: sqlite3.Connection, token: Token) -> Counted | None:
    """What was counted of a token; None of one that was revoked."""
    row = db.execute("SELECT used, tat FROM tokens WHERE hash = ?", (bytes.fromhex(token.hash),)).fetchone()
    return None if row is None else Counted(expect(int, row[0]), expect(float, row[1]))
