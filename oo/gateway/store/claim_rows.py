"""The rows of idempotent calls: who makes one until when, and whether it was made.

A claim is known by its end: whoever takes a lapsed one over holds it until later than any earlier holder did. The
calls of a token are numbered, so that only its last ones are known.
"""

from __future__ import annotations

import hmac
import time
from typing import Literal

from .. import kept
from ..models import Denial, Token
from . import token_rows
from .records import Records, expect

_PURGED = 8  # rows that one call deletes of what is too old: it adds one


def is_known(records: Records, token_id: str, call: bytes) -> bool:
    """Whether a call, known by a keyed hash of its key, is being made or was made, so that it costs no use."""
    query = "SELECT at, until, done FROM claims WHERE token = ? AND call = ?"
    row = records.db.execute(query, (token_id, call)).fetchone()
    return row is not None and _is_live(*row)


def claim(records: Records, token: Token, call: bytes, seconds: float) -> float | Denial | Literal["taken"]:
    """Claim a call and pay for it. See Store.claim."""
    if is_known(records, token.id, call):
        return "taken"
    if (denial := token_rows.consume(records, token)) is not None:
        return denial
    now, db = time.time(), records.db
    # Claimed by a process that died, or too old.
    db.execute("DELETE FROM claims WHERE token = ? AND call = ?", (token.id, call))
    (last,) = db.execute("SELECT max(number) FROM claims WHERE token = ?", (token.id,)).fetchone()
    number, until = (expect(int, last) if last is not None else 0) + 1, now + seconds
    db.execute("INSERT INTO claims VALUES (?, ?, ?, ?, ?, ?, 0)", (token.id, number, call, b"", now, until))
    _forget(records, token.id, number - kept.MAX_CALLS, now)
    return until


def look(records: Records, token_id: str, call: bytes, digest: bytes) -> float | Literal["taken", "other"] | None:
    """What is known of a call: the end of the claim under which it was made, "taken" if it is being made, "other" if
    the key is another request's, None if nobody makes it."""
    query = "SELECT digest, at, until, done FROM claims WHERE token = ? AND call = ?"
    row = records.db.execute(query, (token_id, call)).fetchone()
    if row is None or not _is_live(*row[1:]):
        return None
    bound = expect(bytes, row[0])  # empty while the call is being made
    if bound and not hmac.compare_digest(bound, digest):
        return "other"
    return expect(float, row[2]) if row[3] else "taken"


def renew(records: Records, token_id: str, call: bytes, until: float, seconds: float) -> float | None:
    """Extend a claim. See Store.renew."""
    # Whoever takes a claim over holds it until later than that, so its end identifies the holder.
    later = max(time.time() + seconds, until)
    query = "UPDATE claims SET until = ? WHERE token = ? AND call = ? AND until = ? AND done = 0"
    return later if records.db.execute(query, (later, token_id, call, until)).rowcount else None


def complete(records: Records, token_id: str, call: bytes, until: float, digest: bytes) -> None:
    """Note that a claimed call was made, and which request it was."""
    query = "UPDATE claims SET done = 1, digest = ? WHERE token = ? AND call = ? AND until = ? AND done = 0"
    records.db.execute(query, (digest, token_id, call, until))


def release(records: Records, token_id: str, call: bytes, until: float) -> None:
    """Free the key of a claimed call. See Store.release."""
    query = "DELETE FROM claims WHERE token = ? AND call = ? AND until = ? AND done = 0"
    records.db.execute(query, (token_id, call, until))


def _is_live(at: object, until: object, done: object) -> bool:
    now = time.time()
    return expect(float, at) > now - kept.KEPT if done else expect(float, until) > now


def _forget(records: Records, token_id: str, number: int, now: float) -> None:
    """Delete a few of the calls that are too old, or of the token's too many."""
    beyond = "DELETE FROM claims WHERE token = ? AND number <= ? AND (done OR until < ?)"
    records.db.execute(beyond, (token_id, number, now))
    old = (
        "DELETE FROM claims WHERE (token, number) IN"
        " (SELECT token, number FROM claims WHERE at < ? AND (done OR until < ?) ORDER BY at LIMIT ?)"
    )
    records.db.execute(old, (now - kept.KEPT, now, _PURGED))
