"""The rows of idempotent calls: who makes one until when, and whether it was made.

A claim is known by its fence, which is drawn anew for each: who took a lapsed one over is not touched by its earlier
holder. The calls of a token are numbered, so that only its last ones are known.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Sequence
from typing import Literal, NamedTuple

from .. import kept
from ..models import Denial
from .records import expect
from .sqlite import insert, places
from .sqlite_rows import SQLiteRecords
from .sqlite_uses import Counts, Judged

_PURGED = 8  # rows that are deleted of what is too old for each that is added
_NONE = bytearray()
_OFTEN = 16  # calls of a token after which that is done


class Claiming(NamedTuple):
    """A call that is to be claimed, by whom, with which fence, and for how long."""

    judged: Judged
    call: bytes
    fence: bytes
    seconds: float


class Made(NamedTuple):
    """A claimed call that was made, and which request it was."""

    token: str
    call: bytes
    fence: bytes
    digest: bytes


def is_known(records: SQLiteRecords, token_id: str, call: bytes) -> bool:
    """Whether a call, known by a keyed hash of its key, is being made or was made, so that it costs no use."""
    query = "SELECT at, until, done FROM claims WHERE token = ? AND call = ?"
    row = records.db.execute(query, (token_id, call)).fetchone()
    return row is not None and _is_live(*row)


def claim_all(records: SQLiteRecords, asked: Sequence[Claiming]) -> list[Denial | Literal["taken"] | None]:
    """Claim each call and pay for it; None for what is claimed. See Store.claim."""
    counts, now = Counts(records, (each.judged for each in asked)), time.time()
    known, last = _known(records, asked)
    rows: dict[tuple[str, bytes], tuple[object, ...]] = {}
    outcomes: list[Denial | Literal["taken"] | None] = []
    for judged, call, fence, seconds in asked:
        token = judged.token
        key = (token.id, call)
        denial = counts.still(judged)
        if denial is None and (known.get(key) or key in rows):
            outcomes.append("taken")
            continue
        outcomes.append(denial or counts.consume(token))
        if outcomes[-1] is None:
            last[token.id] += 1
            rows[key] = token.id, last[token.id], bytearray(call), _NONE, now, now + seconds, 0, bytearray(fence)
    if rows:
        # Claimed by a process that died, or too old.
        stale = [key for key in rows if key in known]
        records.db.executemany("DELETE FROM claims WHERE token = ? AND call = ?", stale)
        insert(records.db, "claims", list(rows.values()))
        counts.write()
        _forget(records, last, len(rows), now)
    return outcomes


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


def complete_all(records: SQLiteRecords, made: Sequence[Made]) -> list[None]:
    """Note that each claimed call was made, and which request it was."""
    # Not one statement for all: that reads the table that it writes, so SQLite copies what it has read.
    records.db.executemany(
        "UPDATE claims SET done = 1, digest = ? WHERE token = ? AND call = ? AND holder = ? AND done = 0",
        [(bytearray(digest), token, bytearray(call), bytearray(fence)) for token, call, fence, digest in made],
    )
    return [None] * len(made)


def release(records: SQLiteRecords, token_id: str, call: bytes, fence: bytes) -> None:
    """Free the key of a claimed call. See Store.release."""
    query = "DELETE FROM claims WHERE token = ? AND call = ? AND holder = ? AND done = 0"
    records.db.execute(query, (token_id, call, fence))


def _is_live(at: object, until: object, done: object) -> bool:
    now = time.time()
    return expect(float, at) > now - kept.KEPT if done else expect(float, until) > now


def _known(records: SQLiteRecords, asked: Sequence[Claiming]) -> tuple[dict[tuple[str, bytes], bool], dict[str, int]]:
    """The calls that have a row, and whether each costs no use; and the last number of each token."""
    tokens = list({each.judged.token.id: None for each in asked})
    keys = list({(each.judged.token.id, each.call): None for each in asked})
    query = (
        f"WITH asked (token, call) AS (VALUES {places(len(keys), 2)}),"  # noqa: S608
        f" tokens (token) AS (VALUES {places(len(tokens), 1)})"
        " SELECT token, call, at, until, done FROM asked CROSS JOIN claims USING (token, call)"
        " UNION ALL SELECT token, NULL, (SELECT max(number) FROM claims WHERE token = tokens.token), 0, 0 FROM tokens"
    )
    found = records.db.execute(
        query, [*(value for token, call in keys for value in (token, bytearray(call))), *tokens]
    ).fetchall()
    known = {(token, call): _is_live(*row) for token, call, *row in found if call is not None}
    return known, {token: number or 0 for token, call, number, *_ in found if call is None}


def _forget(records: SQLiteRecords, last: dict[str, int], added: int, now: float) -> None:
    """Delete some of the calls that are too old, and what is beyond the most of a token, whose last number is given."""
    beyond = "DELETE FROM claims WHERE token = ? AND number <= ? AND (done OR until < ?)"
    over = [(token, number - kept.MAX_CALLS, now) for token, number in last.items() if number > kept.MAX_CALLS]
    records.db.executemany(beyond, over)
    # Now and then: on the event loop, each statement is waited for by all.
    if any((number - 1) % _OFTEN < added for number in last.values()):  # at a token's first call too: many make no more
        old = (
            "DELETE FROM claims WHERE (token, number) IN"
            " (SELECT token, number FROM claims WHERE at < ? AND (done OR until < ?) ORDER BY at LIMIT ?)"
        )
        records.db.execute(old, (now - kept.KEPT, now, _PURGED * max(added, _OFTEN)))
