"""The rows of idempotent calls: who makes one until when, and its first response.

A claim is known by its end: whoever takes a lapsed one over holds it until later than any earlier holder did.
"""

from __future__ import annotations

import hmac
import time
from typing import Literal

from ..models import StoredResponse
from .records import Records, expect

KEPT = 24 * 3600.0
"""Seconds that the first response to an idempotent call is kept."""


def claim(
    records: Records, token_id: str, call: bytes, digest: bytes, seconds: float
) -> StoredResponse | float | Literal["taken", "other"]:
    """Claim a call, known by keyed hashes of its key and of its request. See Store.claim."""
    now = time.time()
    _forget(records, now - KEPT)
    query = "SELECT digest, until FROM results WHERE token = ? AND call = ?"
    row = records.db.execute(query, (token_id, call)).fetchone()
    if row is not None:
        if not hmac.compare_digest(expect(bytes, row[0]), digest):
            return "other"
        stored = records.find_json("result", _name(token_id, call))
        if stored is not None:
            headers = tuple((name, value) for name, value in stored["headers"])
            return StoredResponse(stored["status"], headers, bytes.fromhex(stored["body"]))
        if expect(float, row[1]) > now:
            return "taken"
    # Unclaimed, or claimed by a process that died.
    until = now + seconds
    records.db.execute("REPLACE INTO results VALUES (?, ?, ?, ?, ?)", (token_id, call, digest, now, until))
    return until


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
