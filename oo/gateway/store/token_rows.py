"""Tokens as rows: what changes with each use is plain, everything else is in a sealed record."""

from __future__ import annotations

import hmac
import json
import time
from dataclasses import asdict
from typing import Any

from ..errors import IntegrityError, StoreError
from ..models import Rate, Token
from .records import Records, expect
from .rows import TokenRow


async def find(records: Records, hashed: bytes) -> Token | None:
    """The token whose keyed hash this is, or None."""
    row = await records.rows.token(hashed)
    return None if row is None else _token(json.loads(await records.read("token", row.id)), row)


async def every(records: Records) -> list[Token]:
    """Every token that was issued, in the order of their hashes."""
    stored = await records.every_json("token")
    rows = await records.rows.tokens()
    for row in rows:
        if row.id not in stored:
            raise IntegrityError(f"the token {row.id!r} is missing from the vault")
    return [_token(stored[row.id], row) for row in rows]


async def add(records: Records, token: Token) -> None:
    """Write a new token."""
    await records.rows.add_token(bytes.fromhex(token.hash), token.id)
    await records.put("token", token.id, 0, _sealed(token))


async def revoke(records: Records, token_id: str) -> None:
    """Mark a token as revoked, unless it is; StoreError if there is none of that id."""
    stored = await records.find_json("token", token_id)
    if stored is None:
        raise StoreError(f"there is no token {token_id!r}; `oo token list` shows the ids")
    await records.put("token", token_id, 0, {**stored, "revoked": stored["revoked"] or time.time()})
    await records.rows.revise_token(token_id)


async def remove(records: Records, token: Token) -> None:
    """Delete a token."""
    await records.rows.remove_token(token.id)
    await records.delete("token", token.id)


def _sealed(token: Token) -> dict[str, object]:
    return {name: value for name, value in asdict(token).items() if name != "revision"}


def _token(stored: dict[str, Any], row: TokenRow) -> Token:
    # A row may have been pointed at another token's record.
    if not hmac.compare_digest(stored["hash"], expect(bytes, row.hash).hex()):
        raise IntegrityError(f"the token {row.id!r} in the vault is not the one that was stored there")
    rate = stored["rate"] and Rate(**stored["rate"])
    return Token(**{**stored, "rate": rate, "used": expect(int, row.used), "revision": expect(int, row.revision)})
