"""The rows of tokens: what changes with each use is plain, everything else is in a sealed record."""

from __future__ import annotations

import hmac
import json
import time
from dataclasses import asdict

from ..errors import IntegrityError, StoreError
from ..models import Denial, Rate, Token
from ..spending import spend
from .records import Records, expect


def find(records: Records, hashed: bytes) -> Token | None:
    """The token whose keyed hash this is, or None."""
    for identity, used in records.rows("SELECT id, used FROM tokens WHERE hash = ?", (hashed,)):
        return _opened(records, hashed, identity, used)
    return None


def every(records: Records) -> list[Token]:
    """Every token that was issued, in no order."""
    return [_opened(records, *row) for row in records.rows("SELECT hash, id, used FROM tokens")]


def add(records: Records, token: Token) -> None:
    """Write a new token."""
    records.db.execute("INSERT INTO tokens (hash, id) VALUES (?, ?)", (bytes.fromhex(token.hash), token.id))
    records.put("token", token.id, 0, asdict(token))


def revoke(records: Records, token_id: str) -> None:
    """Mark a token as revoked, unless it is; StoreError if there is none of that id."""
    stored = records.find_json("token", token_id)
    if stored is None:
        raise StoreError(f"there is no token {token_id!r}; `oo token list` shows the ids")
    records.put("token", token_id, 0, {**stored, "revoked": stored["revoked"] or time.time()})


def remove(records: Records, token: Token) -> None:
    """Delete a token."""
    records.db.execute("DELETE FROM tokens WHERE id = ?", (token.id,))
    records.delete("token", token.id)


def consume(records: Records, token: Token) -> Denial | None:
    """Count one use of a token, or say why it has none."""
    hashed = bytes.fromhex(token.hash)
    used, tat = records.db.execute("SELECT used, tat FROM tokens WHERE hash = ?", (hashed,)).fetchone()
    outcome = spend(token, expect(int, used), expect(float, tat), time.time())
    if isinstance(outcome, Denial):
        return outcome
    records.db.execute("UPDATE tokens SET used = used + 1, tat = ? WHERE hash = ?", (outcome, hashed))
    return None


def _opened(records: Records, hashed: bytes, identity: str, used: int) -> Token:
    stored = json.loads(records.read("token", identity))
    # A row may have been pointed at another token's record.
    if not hmac.compare_digest(stored["hash"], expect(bytes, hashed).hex()):
        raise IntegrityError(f"the token {identity!r} in the vault is not the one that was stored there")
    rate = stored["rate"] and Rate(**stored["rate"])
    return Token(**{**stored, "rate": rate, "used": expect(int, used)})
