"""The vault's tables, and how those of an earlier version become them."""

from __future__ import annotations

import sqlite3

from .sqlite import transaction

_CLAIMS = """
CREATE TABLE claims (
    token TEXT NOT NULL, number INTEGER NOT NULL, call BLOB NOT NULL, digest BLOB NOT NULL, at REAL NOT NULL,
    until REAL NOT NULL, done INTEGER NOT NULL DEFAULT 0, holder BLOB NOT NULL DEFAULT x'', PRIMARY KEY (token, number)
) WITHOUT ROWID;
CREATE UNIQUE INDEX claims_call ON claims (token, call);
CREATE INDEX claims_at ON claims (at);
"""
SCHEMA = f"""
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE records (
    kind TEXT NOT NULL, name TEXT NOT NULL, version INTEGER NOT NULL, key TEXT NOT NULL, sealed BLOB NOT NULL,
    PRIMARY KEY (kind, name, version)
) WITHOUT ROWID;
CREATE TABLE tokens (
    hash BLOB PRIMARY KEY, id TEXT NOT NULL UNIQUE, used INTEGER NOT NULL DEFAULT 0, tat REAL NOT NULL DEFAULT 0
) WITHOUT ROWID;
{_CLAIMS}
"""

# Where the answers to idempotent calls stood in the vault, the calls are taken over and the answers dropped.
_MOVE = """
INSERT INTO claims SELECT token, row_number() OVER (PARTITION BY token ORDER BY at), call, digest, at, until,
    EXISTS (SELECT 1 FROM records WHERE kind = 'result' AND name = token || '.' || lower(hex(call))), x'' FROM results;
DROP TABLE results;
"""
_STEP = 500  # rows that are deleted at once, since nobody else writes meanwhile


def upgrade(db: sqlite3.Connection) -> None:
    """Bring a vault of an earlier version to these tables. If interrupted, the next opening goes on."""
    if not _has_table(db, "claims"):
        with transaction(db):
            if not _has_table(db, "claims"):  # by another process meanwhile
                for statement in (_CLAIMS + (_MOVE if _has_table(db, "results") else "")).split(";"):
                    db.execute(statement)
    if not _has_column(db, "claims", "holder"):
        with transaction(db):
            if not _has_column(db, "claims", "holder"):
                # Claims of an earlier version are nobody's any more, and what was answered then is not found.
                db.execute("ALTER TABLE claims ADD COLUMN holder BLOB NOT NULL DEFAULT x''")
    while db.execute("SELECT 1 FROM records WHERE kind = 'result' LIMIT 1").fetchone():
        with transaction(db):
            some = "SELECT name FROM records WHERE kind = 'result' LIMIT ?"
            db.execute(f"DELETE FROM records WHERE kind = 'result' AND name IN ({some})", (_STEP,))  # noqa: S608


def _has_table(db: sqlite3.Connection, name: str) -> bool:
    return db.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (name,)).fetchone() is not None


def _has_column(db: sqlite3.Connection, table: str, name: str) -> bool:
    return any(column[1] == name for column in db.execute(f"PRAGMA table_info({table})"))
