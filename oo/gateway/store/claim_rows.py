"""The rows of idempotent calls: who makes one until when, and whether it was made.

A claim is known by its fence, which is drawn anew for each: who took a lapsed one over is not touched by its earlier
holder. The calls of a token are numbered, so that only its last ones are known.
"""

from __future__ import annotations

import hmac
import time
from typing import Literal

from .. import kept
from ..models import Denial, Token
from . import sqlite_uses
from .records import expect
from .sqlite_rows import SQLiteRecords

_PURGED = 8  # rows that one call deletes of what is too old: it adds one


def is_known(records: SQLiteRecords, token_id: str, call: bytes) -> bool:
    """Whether a call, known by a keyed hash of its key, is being made or was made, so that it costs no use."""
    query = "SELECT at, until, done FROM claims WHERE token = ? AND call = ?"
    row = records.db.execute(query, (token_id, call)).fetchone()
    return row is not None and _is_live(*row)


def claim(
    records: SQLiteRecords, token: Token, call: bytes, fence: bytes, seconds: float
) -> Denial | Literal["taken"] | None:
    """Claim a call and pay for it; None if it is claimed. See Store.claim."""
    if is_known(records, token.id, call):
        return "taken"
    if (denial := sqlite_uses.consume(records.db, token)) is not None:
        return denial
    now, db = time.time(), records.db
    # Claimed by a process that died, or too old.
    db.execute("DELETE FROM claims WHERE token = ? AND call = ?", (token.id, call))
    (last,) = db.execute("SELECT max(number) FROM claims WHERE token = ?", (token.id,)).fetchone()
    number = (expect(int, last) if last is not None else 0) + 1
    row = (token.id, number, call, b"", now, now + seconds, 0, fence)
    db.execute("INSERT INTO claims VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
    _forget(records, token.id, number - kept.MAX_CALLS, now)
    return None


def look(records: SQLiteRecords, token_id: str, call: bytes, digest: bytes) -> bytes | Literal["taken", "other"] | None:
    """What is known of a call: the fence of the claim under which it was made, "taken" if it is being made, "other" if
    the key is another request's, None if nobody makes it."""
    query = "SELECT digest, at, until, done, holder FROM claims WHERE token = ? AND call = ?"
    row = records.db.execute(query, (token_id, call)).fetchone()
    if row is None or not _is_live(*row[1:4]):
        return None
    bound = expect(bytes, row[0])  # empty while the call is being made
    if bound and not hmac.compare_digest(bound, digest):
        return "other"
    return expect(bytes, row[4]) if row[3] else "taken"


def renew(records: SQLiteRecords, token_id: str, call: bytes, fence: bytes, seconds: float) -> bool:
    """Extend a claim. See Store.renew."""
    query = "UPDATE claims SET until = max(until, ?) WHERE token = ? AND call = ? AND holder = ? AND done = 0"
    return records.db.execute(query, (time.time() + seconds, token_id, call, fence)).rowcount > 0


def complete(records: SQLiteRecords, token_id: str, call: bytes, fence: bytes, digest: bytes) -> None:
    """Note that a claimed call was made, and which request it was."""
    query = "UPDATE claims SET done = 1, digest = ? WHERE token = ? AND call = ? AND holder = ? AND done = 0"
    records.db.execute(query, (digest, token_id, call, fence))


def release(records: SQLiteRecords, token_id: str, call: bytes, fence: bytes) -> None:
    """Free the key of a claimed call. See Store.release."""
    query = "DELETE FROM claims WHERE token = ? AND call = ? AND holder = ? AND done = 0"
    records.db.execute(query, (token_id, call, fence))


def _is_live(at: object, until: object, done: object) -> bool:
    now = time.time()
    return expect(float, at) > now - kept.KEPT if done else expect(float, until) > now


def _forget(records: SQLiteRecords, token_id: str, number: int, now: float) -> None:
    """Delete a few of the calls that are too old, or of the token's too many."""
    beyond = "DELETE FROM claims WHERE token = ? AND number <= ? AND (done OR until < ?)"
    records.db.execute(beyond, (token_id, number, now))
    old = (
        "DELETE FROM claims WHERE (token, number) IN"
        " (SELECT token, number FROM claims WHERE at < ? AND (done OR until < ?) ORDER BY at LIMIT ?)"
    )
    records.db.execute(old, (now - kept.KEPT, now, _PURGED))
