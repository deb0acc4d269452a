from __future__ import annotations

import json
import sqlite3
import time
from contextlib import closing

import pytest

from oo.gateway.sealing import keyed_hash
from oo.gateway.store import schema, sqlite
from oo.gateway.vault import Vault
from tests.support.vaults import ALL, CANARY, Kept, claimed

EARLIER = """
DROP TABLE claims;
CREATE TABLE results (
    token TEXT NOT NULL, call BLOB NOT NULL, digest BLOB NOT NULL, at REAL NOT NULL, until REAL NOT NULL,
    PRIMARY KEY (token, call)
) WITHOUT ROWID;
CREATE INDEX results_at ON results (at);
"""


async def earlier(kept: Kept, count: int) -> tuple[str, str]:
    """Make a vault one of an earlier version, in which these calls have their answers; a token, and its id."""
    async with kept.open() as vault:
        token = await vault.issue("route", "route-a")
        identity = vault.id_of(token)
        calls = [vault._call(f"k{n}") for n in range(count)]
        digest = keyed_hash(vault._token_key, b"digest")
    with closing(sqlite3.connect(kept.path)) as db, db:
        db.executescript(EARLIER)
        key = kept.ring.current
        for n, call in enumerate(calls):
            now = time.time() + n / 1000
            db.execute("INSERT INTO results VALUES (?, ?, ?, ?, ?)", (identity, call, digest, now, now - 1))
            if n:  # the first was not made
                name = f"{identity}.{call.hex()}"
                data = json.dumps({"status": 200, "headers": [], "body": CANARY.encode().hex()}).encode()
                sealed = kept.ring.seal(key, "result", name, 0, data)
                db.execute("INSERT INTO records VALUES ('result', ?, 0, ?, ?)", (name, key, sealed))
    return token, identity


async def test_of_an_earlier_vault_the_calls_are_known_and_the_answers_dropped(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "_STEP", 3)
    token, identity = await earlier(kept, 9)
    for _ in range(2):
        async with kept.open() as vault:
            assert kept.rows("SELECT count(*) FROM records WHERE kind = 'result'") == [(0,)]
            assert kept.rows("SELECT count(*), max(number) FROM claims") == [(9, 9)]
            assert kept.rows("SELECT 1 FROM sqlite_master WHERE name IN ('results', 'results_at')") == []
            looks = [await vault.result(identity, f"k{n}", b"digest") for n in range(9)]
            assert looks == [None] + ["gone"] * 8
            assert await vault.claim(token, "k1", 60) == "taken"
    async with kept.open() as vault:
        # One that was not made is free.
        await claimed(vault, (token, identity), "k0")
    assert await kept.assert_harmless() == ALL


async def test_an_upgrade_that_was_interrupted_goes_on(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    await earlier(kept, 9)

    for statement in ("DROP TABLE results", "DELETE FROM records"):
        with closing(sqlite.writer(kept.path)) as db:
            db.set_trace_callback(lambda said, until=statement: said.strip().startswith(until) and db.interrupt())
            with pytest.raises(sqlite3.OperationalError, match="interrupted"):
                schema.upgrade(db)
    async with kept.open() as vault:
        assert isinstance(vault, Vault)
    assert kept.rows("SELECT count(*) FROM records WHERE kind = 'result'") == [(0,)]
    assert kept.rows("SELECT count(*) FROM claims") == [(9,)]
