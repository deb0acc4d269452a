"""The rows of tokens: what changes with each use is plain, everything else is in a sealed record."""

from __future__ import annotations

import hmac
import json
import time
from dataclasses import asdict

from .. import spending
from ..errors import IntegrityError, StoreError
from ..models import Denial, Rate, Token
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


def charge(records: Records, token: Token) -> Denial | None:
    """Charge one call to a token's rate, or say that it comes too soon."""
    used, tat = counted(records, token)
    outcome = spending.charge(token, tat, time.time())
    if isinstance(outcome, Denial):
        return outcome
    # A limit of uses counts by itself, in `consume`.
    used += token.uses is None
    records.db.execute("UPDATE tokens SET used = ?, tat = ? WHERE hash = ?", (used, outcome, bytes.fromhex(token.hash)))
    return None


def is_used_up(records: Records, token: Token) -> bool:
    """Whether a token has no use left."""
    return token.uses is not None and not spending.has_use(token, counted(records, token)[0])


def too_soon(records: Records, token: Token) -> Denial | None:
    """The Denial that `charge` would give, without a write; None if it might charge."""
    outcome = spending.charge(token, counted(records, token)[1], time.time())
    return outcome if isinstance(outcome, Denial) else None


def consume(records: Records, token: Token) -> Denial | None:
    """Count one use of a token that has a limit of them, or say that it has none left."""
    if token.uses is None:
        return None
    used, _ = counted(records, token)
    if not spending.has_use(token, used):
        return Denial("used up", token.id, label=token.label)
    records.db.execute("UPDATE tokens SET used = used + 1 WHERE hash = ?", (bytes.fromhex(token.hash),))
    return None


def counted(records: Records, token: Token) -> tuple[int, float]:
    """How often a token was used, and what its rate's last charge gave."""
    query = "SELECT used, tat FROM tokens WHERE hash = ?"
    used, tat = records.db.execute(query, (bytes.fromhex(token.hash),)).fetchone()
    return expect(int, used), expect(float, tat)


def _opened(records: Records, hashed: bytes, identity: str, used: int) -> Token:
    stored = json.loads(records.read("token", identity))
    # A row may have been pointed at another token's record.
    if not hmac.compare_digest(stored["hash"], expect(bytes, hashed).hex()):
        raise IntegrityError(f"the token {identity!r} in the vault is not the one that was stored there")
    rate = stored["rate"] and Rate(**stored["rate"])
    return Token(**{**stored, "rate": rate, "used": expect(int, used)})
