"""`oo rekey` and `oo rekey --deep`, killed at whatever point they have reached while gateways answer: every read and
every use goes well meanwhile, no record is lost, and the last run ends with one master key and one key a purpose.

A dozen kills of each in the suite; `OO_KILLS=100 pytest -n 0 tests/campaigns/test_keys.py` for a campaign.
"""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest

from oo.gateway import keyring
from oo.gateway.open_store import open_store
from oo.gateway.sealing import key_id
from oo.gateway.store import data_keys
from oo.gateway.store.base import Keeper
from tests.support.bao import Bao
from tests.support.processes import Home, reading

pytestmark = pytest.mark.campaign

T = TypeVar("T")
KILLS = int(os.environ.get("OO_KILLS", "12"))
COUNT = 150


class Store:
    """A store with so many secrets that sealing them anew takes a while."""

    def __init__(self, home: Home, kms: bool) -> None:
        self.home = home
        self.kms = kms
        assert home.oo("init").returncode == 0
        self.run(self._fill)

    async def _fill(self, keeper: Keeper) -> None:
        for n in range(COUNT):
            await keeper.put_secret(f"s{n}", f"value {n}")

    def run(self, work: Callable[[Keeper], Coroutine[Any, Any, T]]) -> T:
        async def opened() -> T:
            place = self.home.environ.get("OO_STORE") or str(self.home.path)
            async with open_store(place, lambda: keyring.load(self.home.path, self.home.environ)) as keeper:
                return await work(keeper)

        return asyncio.run(opened())

    def token(self, name: str, **terms: Any) -> str:
        return self.run(lambda keeper: keeper.issue("secret", name, **terms))

    def killed(self, seconds: float, *options: str) -> None:
        """`oo rekey`, killed after so many seconds."""
        process = self.home.start("rekey", *options, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        time.sleep(seconds)
        process.kill()
        process.communicate()

    async def written(self, keeper: Keeper) -> tuple[list[str | None], int]:
        """What of the first secrets an owner reads, having written another."""
        version = await keeper.put_secret("written", "value")
        return [await keeper.secret(f"s{n}") for n in range(9)], version

    async def whole(self, keeper: Keeper) -> None:
        """Everything is there, sealed with one key for each purpose, which the one master key wraps."""
        assert [await keeper.secret(f"s{n}") for n in range(COUNT)] == [f"value {n}" for n in range(COUNT)]
        rows = await keeper.keys()
        assert len({row.sealed[0] for row in rows}) == 1
        assert sorted(row.purpose for row in rows if row.purpose != data_keys.RESULTS) == sorted(
            {*data_keys.PURPOSES.values()}
        )


@pytest.fixture(params=["sqlite", "postgres", "sqlite over a KMS"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    environ: dict[str, str] = {"OO_STORE": request.getfixturevalue("postgres")} if request.param == "postgres" else {}
    if request.param.endswith("KMS"):
        bao: Bao = request.getfixturevalue("bao")
        environ = bao.environ
        # open_store() is asked in this process too.
        patch: pytest.MonkeyPatch = request.getfixturevalue("monkeypatch")
        for name, value in environ.items():
            patch.setenv(name, value)
    return Store(Home(tmp_path / "home", OO_STORE_REPLICATED="1", **environ), request.param.endswith("KMS"))


@pytest.mark.parametrize("options", [(), ("--deep",)], ids=["plain", "deep"])
def test_rekeys_that_are_killed_anywhere_under_load_lose_nothing(store: Store, options: tuple[str, ...]) -> None:
    tokens = {store.token(f"s{n}", uses=1_000_000): f"value {n}" for n in (3, 70)}
    tokens[store.token("s9")] = "value 9"
    chance = random.Random(7)
    home = store.home
    with home.serve("--workers", "2") as one, home.serve() as two:
        with reading(one.url, tokens) as wrong, reading(two.url, tokens) as also:
            for n in range(KILLS):
                store.killed(chance.uniform(0.3, 1.2), *options)
                assert store.run(store.written) == ([f"value {n}" for n in range(9)], n + 1)
                assert (wrong, also) == ([], [])
                assert store.kms or 1 <= len(keyring.read_keys(home.path, home.environ)) <= 2
            for last in (("--deep",), options):
                said = home.oo("rekey", *last)
                assert (said.returncode, said.stderr) == (0, "")
        assert (wrong, also, one.news, two.news) == ([], [], [], [])
    store.run(store.whole)
    if not store.kms:
        (key,) = keyring.read_keys(home.path, home.environ)
        assert {row.sealed[0] for row in store.run(lambda keeper: keeper.keys())} == {key_id(key)}
