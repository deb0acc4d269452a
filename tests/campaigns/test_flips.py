"""A vault's files with one bit wrong, at random: whatever is read or written then is right or a StoreError.

A few hundred flips in the suite; `OO_FLIPS=10000 pytest -n 0 tests/campaigns/test_flips.py` for a campaign.
"""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from oo.gateway.errors import StoreError
from oo.gateway.models import Denial, Grant, Rate, Route, SecretRef, StoredResponse
from oo.gateway.paths import VAULT_FILE
from oo.gateway.sealing import Keyring, new_key
from oo.gateway.vault import Vault
from tests.support.vaults import claimed, spend

pytestmark = pytest.mark.campaign

FLIPS = int(os.environ.get("OO_FLIPS", "300"))
CANARY = "canary-31bb"
ROUTE = Route("r", f"http://{CANARY}.example", {"X-Key": "{a} text"}, ("POST /v1/*",), 5.0, True)
RESULT = StoredResponse(201, (("X-A", CANARY),), CANARY.encode())
HARMLESS = {("claims", column) for column in ("token", "number", "call", "digest", "at", "until", "done", "holder")}
"""Columns in which whatever stands there makes a call nobody's, and so at most one that is made again."""
HARMLESS |= {("meta", "name"), ("meta", "value")}  # of which the epoch alone is read
BIG = CANARY * 1000  # which has pages of its own
OLDER = {"a": ("old",), "b": ("old",), "revoked": ("a",)}
"""SQLite takes a log up to where its checksums fail: what was committed behind that is lost, and not missed."""


class Vaults:
    """A vault with one of everything, closed well or left as by a crash, and all that may come out of it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.ring = Keyring([new_key()])
        self.tokens: dict[str, str] = {}
        self.fences: dict[str, Any] = {}

    def open(self, home: Path) -> Vault:
        return Vault(home, lambda: self.ring)

    async def fill(self, crashed: Path) -> None:
        Vault.create(self.home, self.ring)
        async with self.open(self.home) as vault:
            for name, value in (("a", "old"), ("a", CANARY), ("b", "old"), ("b", BIG)):
                await vault.put_secret(name, value)
            await vault.put_environment("e", {"S": SecretRef("a"), "L": CANARY})
            await vault.put_route(ROUTE)
            for label, kind, name, terms in (
                ("plain", "secret", "a", {}),
                ("spent", "secret", "a", {"uses": 1}),
                ("uses", "secret", "b", {"uses": 5, "ttl": 1e6}),
                ("rate", "env", "e", {"rate": Rate(5, 1000.0)}),
                ("revoked", "secret", "a", {}),
                ("route", "route", "r", {}),
            ):
                self.tokens[label] = await vault.issue(kind, name, label=label, **terms)  # type: ignore[arg-type]
            await spend(vault, self.tokens["spent"], "secret")
            await spend(vault, self.tokens["rate"], "env")
            (identity,) = [each.id for each in await vault.tokens() if each.label == "revoked"]
            await vault.revoke(identity)
            (self.caller,) = [each.id for each in await vault.tokens() if each.label == "route"]
            for key in ("kept", "open"):
                self.fences[key] = await claimed(vault, (self.tokens["route"], self.caller), key, seconds=1e6)
            await vault.complete(self.caller, "kept", self.fences["kept"], b"digest", RESULT)
            # The log holds what was written last.
            shutil.copytree(self.home, crashed)

    async def look(self, home: Path, found: Counter[str], older: bool) -> None:
        """Read and write all there is; AssertionError where something wrong comes out. `older` takes what was right
        before."""
        try:
            vault = self.open(home)
        except StoreError:
            found["does not open"] += 1
            return
        async with vault:
            for label, (work, right) in self.looks(vault).items():
                right = (*right, *OLDER.get(label, ())) if older else right
                try:
                    value = await work()
                except StoreError as error:
                    found["refused"] += 1
                    found["leaked"] += CANARY in str(error)
                    continue
                if isinstance(value, Grant):
                    value = value.name
                if isinstance(value, bytes):
                    value = "mine"
                denied = value is None or isinstance(value, Denial)
                assert denied or value in right, label
                found["denied" if denied else "right"] += 1

    def looks(self, vault: Vault) -> dict[str, tuple[Callable[[], Awaitable[Any]], tuple[Any, ...]]]:
        async def everything() -> str:
            for kind in ("secret", "env", "route"):
                await vault.names(kind)  # type: ignore[arg-type]
            await vault.versions("a")
            await vault.variables("e")
            for token in await vault.tokens():
                await vault.revoke(token.id)
            return f"opens {await opened(vault.issue('secret', 'b', uses=1))}"

        async def opened(issuing: Awaitable[str]) -> str:
            found = await spend(vault, await issuing, "secret")
            return found.name if isinstance(found, Grant) else "nothing"

        async def written() -> str | None:
            version = await vault.put_secret("a", f"new {CANARY}")
            assert version >= 1
            return await vault.secret("a")

        tokens = self.tokens
        return {
            "a": (lambda: vault.secret("a"), (CANARY,)),
            "b": (lambda: vault.secret("b"), (BIG,)),
            "e": (lambda: vault.environment("e"), ({"S": CANARY, "L": CANARY},)),
            "r": (lambda: vault.route("r"), (ROUTE,)),
            "plain": (lambda: spend(vault, tokens["plain"], "secret"), ("a",)),
            "uses": (lambda: spend(vault, tokens["uses"], "secret"), ("b",)),
            "rate": (lambda: spend(vault, tokens["rate"], "env"), ("e",)),
            "route": (lambda: spend(vault, tokens["route"], "route"), ("r",)),
            "revoked": (lambda: spend(vault, tokens["revoked"], "secret"), ()),
            "kept": (lambda: vault.result(self.caller, "kept", b"digest"), (RESULT, "taken", "other", "gone")),
            "open": (lambda: vault.claim(tokens["route"], "open", 60), ("mine", "taken")),
            "spent": (lambda: spend(vault, tokens["spent"], "secret"), ("a",)),
            "written": (written, (f"new {CANARY}",)),
            "rolled back": (lambda: vault.rollback("b"), (1,)),
            "completed": (lambda: vault.complete(self.caller, "open", self.fences["open"], b"digest", RESULT), ()),
            "everything": (everything, ("opens b",)),
            "removed": (lambda: vault.remove("env", "e"), ()),
        }


PLAIN = {
    "meta": ("name", "value"),
    "records": ("kind", "name", "version", "key", "sealed"),
    "tokens": ("hash", "id", "used", "tat"),
    "claims": ("token", "number", "call", "digest", "at", "until", "done", "holder"),
}


@pytest.mark.parametrize(("table", "column"), [(table, column) for table in PLAIN for column in PLAIN[table]])
async def test_a_column_of_another_type_is_seen_or_harmless(tmp_path: Path, table: str, column: str) -> None:
    vaults = Vaults(tmp_path / "home")
    await vaults.fill(tmp_path / "crashed")
    with closing(sqlite3.connect(vaults.home / VAULT_FILE)) as db, db:
        db.execute("PRAGMA writable_schema = ON")  # what a flip makes of a row is not held to it either
        db.execute("UPDATE sqlite_master SET sql = replace(sql, ' NOT NULL', '')")
    found: Counter[str] = Counter()
    for value in ("text", b"blob", None, -1, 2**62, 1.5):
        home = tmp_path / "changed"
        shutil.copytree(vaults.home, home)
        with closing(sqlite3.connect(home / VAULT_FILE)) as db, db:
            # Without its root or its data keys it would not be opened; without its epoch it is read anew.
            where = f"{PLAIN[table][0]} NOT IN ('root', 'key', 'epoch')"
            db.execute(f"UPDATE OR IGNORE {table} SET {column} = ? WHERE {where}", (value,))
        await vaults.look(home, found, older=False)
        shutil.rmtree(home)
    assert found["leaked"] == 0
    # As it was, it refuses nothing.
    assert found["refused"] > 0 or (table, column) in HARMLESS


@pytest.mark.parametrize("state", ["closed", "crashed", "open"])
async def test_a_flipped_bit_is_seen_or_harmless(state: str) -> None:
    # In memory where there is a place for it: each write waits for its disk.
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with TemporaryDirectory(dir=memory) as directory:
        print(f"{state}: {FLIPS // 3} flips, {dict(await flipped(Path(directory), state))}")


async def flipped(tmp_path: Path, state: str) -> Counter[str]:
    vaults = Vaults(tmp_path / "home")
    await vaults.fill(tmp_path / "crashed")
    source = tmp_path / ("crashed" if state == "crashed" else "home")
    content = {path.name: data for path in source.iterdir() if (data := path.read_bytes())}
    assert set(content) >= ({VAULT_FILE, f"{VAULT_FILE}-wal"} if state == "crashed" else {VAULT_FILE})
    chance = random.Random(state)
    found: Counter[str] = Counter()
    home = tmp_path / "flipped"
    for _ in range(FLIPS // 3):
        # Each file is as likely as the other, each byte of it as well.
        name = chance.choice(sorted(content))
        place, bit = chance.randrange(len(content[name])), 1 << chance.randrange(8)
        home.mkdir()
        for each, data in content.items():
            (home / each).write_bytes(data)
        try:
            if state == "open":
                vault = vaults.open(home)
            with open(home / name, "r+b") as file:
                file.seek(place)
                file.write(bytes((content[name][place] ^ bit,)))
            await vaults.look(home, found, older=name.endswith("-wal"))
        except Exception as error:
            raise AssertionError(f"{name}, byte {place}, bit {bit}") from error
        finally:
            if state == "open":
                await vault.close()
            shutil.rmtree(home)
    assert found["leaked"] == 0
    assert found["right"] > found["refused"] + found["denied"]
    assert found["refused"] > 0  # as it was, it refuses nothing
    return found
