"""A vault as double-o made it before it had data keys: every record is sealed with the master key itself."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from oo.gateway.models import Route
from oo.gateway.paths import VAULT_FILE
from oo.gateway.sealing import Keyring
from oo.gateway.store.base import Keeper

KEY = b"1" * 32
RING = Keyring([KEY])
COUNTED = "oo_h7l313od1ZlCT5483sjeJzgQFPePQ9DtVc-NzKhO-4MTsae0Q"
"""A token for the secret a, of 5 uses, of which one is made."""
OF_ROUTE = "oo_QNCoUdkwCD26dw2caZJhXo-6zmx5kKXEN_gQnImYWmgJmsLPw"


def make(home: Path) -> None:
    """Make the vault in a directory that is there or not."""
    home.mkdir(mode=0o700, exist_ok=True)
    with closing(sqlite3.connect(home / VAULT_FILE)) as db:
        db.executescript(Path(__file__).with_name("earlier_vault.sql").read_text("utf-8"))
        db.execute("PRAGMA journal_mode = WAL")


async def assert_whole(keeper: Keeper) -> None:
    """All that was in the vault is there."""
    assert (await keeper.secret("a"), await keeper.secret("b")) == ("second", "of b")
    assert [each.version for each in await keeper.versions("a")] == [1, 2]
    assert await keeper.environment("e") == {"A": "second", "L": "literal"}
    assert await keeper.route("r") == Route("r", "http://127.0.0.1:9", {"X-Key": "{a}"})
    assert {keeper.id_of(token) for token in (COUNTED, OF_ROUTE)} == {each.id for each in await keeper.tokens()}
    assert [each.used for each in await keeper.tokens() if each.label == "counted"] == [1]
