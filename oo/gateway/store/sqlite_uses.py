"""What is counted of a token in a vault's file: its uses, and what its rate's last charge gave."""

from __future__ import annotations

import sqlite3
import time

from .. import spending
from ..models import Denial, Token
from .records import expect


def charge(db: sqlite3.Connection, token: Token) -> Denial | None:
    """Charge one call to a token's rate, or say that it comes too soon."""
    used, tat = counted(db, token)
    outcome = spending.charge(token, tat, time.time())
    if isinstance(outcome, Denial):
        return outcome
    # A limit of uses counts by itself, in `consume`.
    used += token.uses is None
    db.execute("UPDATE tokens SET used = ?, tat = ? WHERE hash = ?", (used, outcome, bytes.fromhex(token.hash)))
    return None


def is_used_up(db: sqlite3.Connection, token: Token) -> bool:
    """Whether a token has no use left."""
    return token.uses is not None and not spending.has_use(token, counted(db, token)[0])


def too_soon(db: sqlite3.Connection, token: Token) -> Denial | None:
    """The Denial that `charge` would give, without a write; None if it might charge."""
    outcome = spending.charge(token, counted(db, token)[1], time.time())
    return outcome if isinstance(outcome, Denial) else None


def consume(db: sqlite3.Connection, token: Token) -> Denial | None:
    """Count one use of a token that has a limit of them, or say that it has none left."""
    if token.uses is None:
        return None
    used, _ = counted(db, token)
    if not spending.has_use(token, used):
        return Denial("used up", token.id, label=token.label)
    db.execute("UPDATE tokens SET used = used + 1 WHERE hash = ?", (bytes.fromhex(token.hash),))
    return None


def counted(db: sqlite3.Connection, token: Token) -> tuple[int, float]:
    """How often a token was used, and what its rate's last charge gave."""
    query = "SELECT used, tat FROM tokens WHERE hash = ?"
    used, tat = db.execute(query, (bytes.fromhex(token.hash),)).fetchone()
    return expect(int, used), expect(float, tat)
