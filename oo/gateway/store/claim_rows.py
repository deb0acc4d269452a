"""The rows of idempotent calls: who makes one until when, and its first response.

A claim is known by its end: whoever takes a lapsed one over holds it until later than any earlier holder did.
"""

from __future__ import annotations

import hmac
import time
from typing import Literal

from ..models import Denial, StoredResponse, Token
from . import token_rows
from .records import Records, expect

KEPT = 24 * 3600.0
"""Seconds that the first response to an idempotent call is kept."""


def claim(records: Records, token: Token, call: bytes, seconds: float) -> float | Denial | Literal["taken"]:
    """Claim a call, known by a keyed hash of its key, and pay for it. See Store.claim."""
    now = time.time()
    _forget(records, now - KEPT)
    query = "SELECT until FROM results WHERE token = ? AND call = ?"
    row = records.db.execute(query, (token.id, call)).fetchone()
    if row is not None and (expect(float, row[0]) > now or _has_result(records, token.id, call)):
        return "taken"
    # Unclaimed, or claimed by a process that died.
    if (denial := token_rows.consume(records, token)) is not None:
        return denial
    until = now + seconds
    records.db.execute("REPLACE INTO results VALUES (?, ?, ?, ?, ?)", (token.id, call, b"", now, until))
    return until


def bind(records: Records, token_id: str, call: bytes, until: float, digest: bytes) -> bool:
    """Write what was called. See Store.bind."""
    query = "UPDATE results SET digest = ? WHERE token = ? AND call = ? AND until = ?"
    return bool(records.db.execute(query, (digest, token_id, call, until)).rowcount)


def result(
    records: Records, token_id: str, call: bytes, digest: bytes
) -> StoredResponse | Literal["taken", "other"] | None:
    """What is known of a call. See Store.result."""
    query = "SELECT digest, until FROM results WHERE token = ? AND call = ?"
    row = records.db.execute(query, (token_id, call)).fetchone()
    if row is None:
        return None
    bound = expect(bytes, row[0])  # empty while the body of the first call is still coming
    if bound and not hmac.compare_digest(bound, digest):
        return "other"
    stored = records.find_json("result", _name(token_id, call))
    if stored is not None:
        headers = tuple((name, value) for name, value in stored["headers"])
        return StoredResponse(stored["status"], headers, bytes.fromhex(stored["body"]))
    return "taken" if expect(float, row[1]) > time.time() else None


def renew(records: Records, token_id: str, call: bytes, until: float, seconds: float) -> float | None:
    """Extend a claim. See Store.renew."""
    # Whoever takes a claim over holds it until later than that, so its end identifies the holder.
    later = max(time.time() + seconds, until)
    query = "UPDATE results SET until = ? WHERE token = ? AND call = ? AND until = ?"
    return later if records.db.execute(query, (later, token_id, call, until)).rowcount else None


def complete(records: Records, token_id: str, call: bytes, until: float, response: StoredResponse) -> None:
    """Store the response of a claimed call. See Store.complete."""
    if _is_held(records, token_id, call, until):
        data = {"status": response.status, "headers": response.headers, "body": response.body.hex()}
        records.put("result", _name(token_id, call), 0, data)


def release(records: Records, token_id: str, call: bytes, until: float) -> None:
    """Free the key of a claimed call. See Store.release."""
    if _is_held(records, token_id, call, until):
        _drop(records, token_id, call)


def _has_result(records: Records, token_id: str, call: bytes) -> bool:
    query = "SELECT 1 FROM records WHERE kind = 'result' AND name = ?"
    return records.db.execute(query, (_name(token_id, call),)).fetchone() is not None


def _is_held(records: Records, token_id: str, call: bytes, until: float) -> bool:
    query = "SELECT 1 FROM results WHERE token = ? AND call = ? AND until = ?"
    return records.db.execute(query, (token_id, call, until)).fetchone() is not None


def _forget(records: Records, before: float) -> None:
    query = "SELECT token, call FROM results WHERE at < ?"
    for token_id, call in records.db.execute(query, (before,)).fetchall():
        _drop(records, token_id, call)


def _drop(records: Records, token_id: str, call: bytes) -> None:
    records.db.execute("DELETE FROM results WHERE token = ? AND call = ?", (token_id, call))
    records.delete("result", _name(token_id, call))


def _name(token_id: str, call: bytes) -> str:
    return f"{token_id}.{call.hex()}"
