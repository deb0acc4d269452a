"""A vault with something in it, and what must hold whatever is done to its file."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from oo.gateway.errors import StoreError
from oo.gateway.models import Denial, Grant, Kind, Route, SecretRef
from oo.gateway.paths import VAULT_FILE
from oo.gateway.sealing import Keyring, new_key
from oo.gateway.vault import Vault

CANARY = "canary-5f1e"
RING = Keyring([new_key()])


class Kept:
    """A vault with one of everything, twice; `tokens` opens each secret by its name."""

    def __init__(self, home: Path, ring: Keyring) -> None:
        self.home = home
        self.ring = ring
        self.path = home / VAULT_FILE
        self.tokens: dict[str, str] = {}

    def open(self, home: Path | None = None) -> Vault:
        return Vault(home or self.home, lambda: self.ring)

    async def fill(self) -> Kept:
        Vault.create(self.home, self.ring)
        async with self.open() as vault:
            for name in ("a", "b"):
                for version in (1, 2):
                    await vault.put_secret(name, f"{CANARY} {name} {version}")
                await vault.put_environment(f"env-{name}", {"S": SecretRef(name), "L": f"{CANARY} literal {name}"})
                inject = {"X-Text": f"{CANARY} text {{{name}}}"}
                await vault.put_route(Route(f"route-{name}", f"http://{CANARY}.example/{name}", inject))
                self.tokens[name] = await vault.issue("secret", name, label=f"{CANARY} label")
        return self

    def sql(self, *statements: str) -> None:
        with closing(sqlite3.connect(self.path)) as db, db:
            for statement in statements:
                db.execute(statement)

    def rows(self, query: str) -> list[Any]:
        with closing(sqlite3.connect(self.path)) as db:
            return db.execute(query).fetchall()

    async def assert_harmless(self, home: Path | None = None) -> int:
        """Whatever was done to the file, nothing wrong comes out of it; gives how much of it is still right."""
        right = 0
        try:
            vault = self.open(home)
        except StoreError:
            return 0
        async with vault:
            for name, token in self.tokens.items():
                reads: dict[str, tuple[Callable[[], Any], Any]] = {
                    "secret": (lambda name=name: vault.secret(name), f"{CANARY} {name} 2"),
                    "env": (
                        lambda name=name: vault.environment(f"env-{name}"),
                        {"S": f"{CANARY} {name} 2", "L": f"{CANARY} literal {name}"},
                    ),
                    "route": (
                        lambda name=name: vault.route(f"route-{name}"),
                        Route(
                            f"route-{name}", f"http://{CANARY}.example/{name}", {"X-Text": f"{CANARY} text {{{name}}}"}
                        ),
                    ),
                    "token": (lambda token=token: vault.consume(token, "secret"), name),
                }
                for what, (read, expected) in reads.items():
                    try:
                        found = await read()
                    except StoreError:
                        continue
                    if isinstance(found, Grant):
                        found = found.name
                    if found is not None and not isinstance(found, Denial):
                        assert found == expected, what
                        right += 1
        return right


ALL = 8
"""What `assert_harmless` finds right in an undamaged vault."""


async def spend(vault: Vault, token: str, kind: Kind) -> Grant | Denial:
    """What a call with that token may have, its rate charged and its use paid."""
    outcome = await vault.authorize(token, kind)
    return outcome if isinstance(outcome, Denial) else await vault.consume(token, kind)


async def claimed(vault: Vault, token: tuple[str, str], key: str, seconds: float = 60) -> bytes:
    """A call that becomes the caller's to make: the fence of its claim. `token` is a token and its id."""
    fence = await vault.claim(token[0], key, seconds)
    assert isinstance(fence, bytes)
    return fence


def writes(vault: Vault) -> int:
    """What changes with each write to the vault."""
    version: int = vault._database.records.db.execute("PRAGMA data_version").fetchone()[0]
    return version


async def refusal(what: Awaitable[object], hidden: str) -> str:
    """How the StoreError that something ends with says why, without what is `hidden`."""
    with pytest.raises(StoreError) as caught:
        await what
    assert hidden not in str(caught.value)
    return str(caught.value)
