"""What owners do to a store while its callers go on: it is rekeyed, moved, brought to a newer schema, and put behind a
pooler; and replicas whose clocks differ by an hour.

Each is short here; `OO_FAILURES=20 pytest -m campaign -n 0 -s tests/campaigns/test_changes_under_load.py` is longer.
"""

from __future__ import annotations

import asyncio
import base64
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, closing, suppress
from pathlib import Path
from typing import Any

import pytest

from oo.gateway.errors import StoreUnavailable
from oo.gateway.moving import migrate
from oo.gateway.open_store import is_postgres, open_store
from oo.gateway.paths import VAULT_FILE
from oo.gateway.postgres import create
from oo.gateway.sealing import Keyring, new_key
from oo.gateway.vault import Vault
from tests.support.faults import answer, serving
from tests.support.load import FAILURES, RING, Load, replicas
from tests.support.pooler import BINARY, pooling
from tests.support.postgres import database
from tests.support.processes import Home, get, kill, needs_proc, until

pytestmark = pytest.mark.campaign

HOUR = 3600.0
STANDS = 1.0  # seconds that nobody may be answered for while a store moves


async def made(place: str, ring: Keyring = RING) -> str:
    if is_postgres(place):
        await create(place, ring)
    else:
        Vault.create(Path(place), ring)
    return place


@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
async def test_a_rekey_fails_no_call(engine: str, postgres: str, tmp_path: Path) -> None:
    keys = [new_key()]
    rings = [Keyring(keys)]
    place = await made(str(tmp_path / "home") if engine == "sqlite" else postgres, rings[0])
    async with AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(open_store(place, lambda: rings[-1])) for _ in range(3)]
        load = Load(stores[:2])
        await load.prepare()
        for turn in range(FAILURES):
            async with load.running():
                await asyncio.sleep(0.2)
                keys.append(new_key())
                rings.append(Keyring(keys[-2:]))
                resealed = await stores[2].rekey(rings[-1], deep=turn % 2 == 1)
                rings.append(Keyring(keys[-1:]))
                await load.back()
            assert resealed > 0
            await load.check(place, rings[-1])
    assert load.refused == {}
    assert load.kept


async def test_a_move_there_and_back_loses_nothing(
    postgres_engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = new_key()
    ring = Keyring([key])
    monkeypatch.setenv("OO_MASTER_KEY", base64.b64encode(key).decode())
    source = await made(str(tmp_path / "0"), ring)
    stood, load = [], Load([])
    for turn in range(2 * FAILURES):
        async with AsyncExitStack() as stack:
            target = stack.enter_context(database(postgres_engine)) if turn % 2 == 0 else str(tmp_path / f"{turn}")
            load.stores = [await stack.enter_async_context(open_store(source, lambda: ring)) for _ in range(2)]
            load.last = [0.0, 0.0]
            if not load.tokens:
                await load.prepare()
            async with load.running():
                await load.back()
                began = time.monotonic()
                await migrate(source, target)
                stood.append(time.monotonic() - began)
                await asyncio.sleep(0.1)  # what was counted before is told
                told = list(load.last)
                await asyncio.sleep(0.3)
            # The old store says that it moved, and opens nothing from then on.
            assert load.last == told
            for store in load.stores:
                with pytest.raises(StoreUnavailable, match="moved"):
                    await store.consume(load.tokens[2], "secret")
            await load.check(target, ring)
            if turn % 2 == 0:
                back = str(tmp_path / f"back{turn}")
                await migrate(target, back)
                await load.check(back, ring)
                source = back
            else:
                source = target
    print(f"\nstood still for {max(stood):.2f} s at most, of {STANDS:.0f} s")


EARLIER = """
ALTER TABLE claims RENAME TO gone;
DROP INDEX claims_call;
DROP INDEX claims_at;
CREATE TABLE claims (
    token TEXT NOT NULL, number INTEGER NOT NULL, call BLOB NOT NULL, digest BLOB NOT NULL, at REAL NOT NULL,
    until REAL NOT NULL, done INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (token, number)
) WITHOUT ROWID;
CREATE UNIQUE INDEX claims_call ON claims (token, call);
CREATE INDEX claims_at ON claims (at);
INSERT INTO claims SELECT token, number, call, digest, at, until, done FROM gone;
DROP TABLE gone;
"""
SPENDS = "UPDATE tokens SET used = used + 1 WHERE id = ? AND used < ?"


async def test_a_schema_is_brought_up_while_an_earlier_gateway_counts_on(tmp_path: Path) -> None:
    home = await made(str(tmp_path / "home"))
    path = tmp_path / "home" / VAULT_FILE
    async with replicas(home) as load:
        async with load.running():
            await load.back()
        identities = {load.stores[0].id_of(token): token for token in load.tokens}
        limits = {each.id: each.uses or 0 for each in await load.stores[0].tokens() if each.id in identities}
    load.kept.clear()  # what an earlier version has answered is not found any more
    stop = False

    def earlier() -> int:
        count = 0
        with closing(sqlite3.connect(path, timeout=30, isolation_level=None)) as db:
            while not stop:
                for identity, token in identities.items():
                    count += 1
                    load.granted[token] += db.execute(SPENDS, (identity, limits[identity])).rowcount
                time.sleep(0.002)
        return count

    with ThreadPoolExecutor(1) as pool:
        for _ in range(FAILURES):
            with closing(sqlite3.connect(path)) as db:
                db.executescript(EARLIER)
            stop, old = False, pool.submit(earlier)
            async with AsyncExitStack() as stack:
                opening = (asyncio.to_thread(Vault, tmp_path / "home", lambda: RING) for _ in range(6))
                load.stores = [await stack.enter_async_context(store) for store in await asyncio.gather(*opening)]
                load.last = [0.0] * len(load.stores)
                async with load.running():
                    await load.back()
                stop = True
                assert await asyncio.to_thread(old.result) > 0
                await load.check(home)
            load.kept.clear()
    assert load.refused == {}


@pytest.mark.skipif(BINARY is None, reason="there is no PgBouncer here: install it, or name one with OO_TEST_PGBOUNCER")
async def test_behind_a_pooler_in_transaction_mode_all_is_as_without(postgres: str, tmp_path: Path) -> None:
    await create(postgres, RING)
    for each in (tmp_path, *tmp_path.parents[:2]):
        each.chmod(0o755)  # the pooler is nobody's
    with pooling(postgres, tmp_path) as pooled:
        async with replicas(pooled, 3) as load, open_store(pooled, lambda: RING) as owner:
            for _ in range(FAILURES):
                async with load.running():
                    await load.back()
                    token = await owner.issue("secret", "s")
                    await owner.revoke(owner.id_of(token))
                    assert not any([hasattr(await store.opens(token, "secret"), "name") for store in load.stores])
                await load.check(postgres)
            assert load.refused == {}
            assert load.kept


CLOCK = """
import os, time
real, ahead = time.time, float(os.environ["OO_TEST_AHEAD"])
time.time = lambda: real() + ahead
"""


@pytest.fixture
def hours(postgres: str, tmp_path: Path) -> list[Home]:
    """Replicas whose clocks differ by an hour: one is right, one ahead, one behind."""
    clock = tmp_path / "clock"
    clock.mkdir()
    (clock / "sitecustomize.py").write_text(CLOCK)
    store = {"OO_STORE": postgres, "OO_STORE_REPLICATED": "1", "PYTHONPATH": str(clock)}
    homes = [Home(tmp_path / "home", **store, OO_TEST_AHEAD=str(ahead)) for ahead in (0.0, HOUR, -HOUR)]
    assert homes[0].oo("init").returncode == 0
    return homes


@needs_proc
def test_replicas_whose_clocks_differ_by_an_hour_judge_alike(hours: list[Home], tmp_path: Path) -> None:
    made: list[float] = []

    def upstream(_request: bytes) -> bytes:
        made.append(time.monotonic())
        if len(made) == 1:
            time.sleep(3)  # until its gateway is gone
        return answer(b'{"n": %d}' % len(made), b"Content-Type: application/json", status=b"201 Created")

    right, ahead, behind = hours

    def issued(home: Home, *terms: str) -> str:
        done = home.oo("token", "issue", *terms)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    with serving(reply=upstream) as api, ThreadPoolExecutor(12) as pool:
        assert right.oo("secret", "set", "s", "--from-file", "-", given="x").returncode == 0
        route = ("--upstream", api.url, "--allow-private", "--timeout", "1")
        assert right.oo("route", "set", "pay", *route).returncode == 0
        counted = issued(ahead, "--secret", "s", "--uses", "20")
        rated = issued(behind, "--secret", "s", "--rate", "6/h")
        caller = issued(right, "--route", "pay")
        with right.serve() as one, ahead.serve() as two, behind.serve() as three:
            urls = [one.url, two.url, three.url]

            def statuses(token: str, count: int) -> list[int]:
                asked = [pool.submit(get, urls[n % 3], token) for n in range(count)]
                return [each.result().status for each in asked]

            assert statuses(counted, 60).count(200) == 20
            assert statuses(rated, 30).count(200) == 6
            # What expires does so for all of them, though it was issued by one that is an hour ahead.
            brief = issued(ahead, "--secret", "s", "--ttl", "5s")
            began = time.monotonic()
            assert statuses(brief, 6) == [200] * 6
            until(lambda: statuses(brief, 3) == [401] * 3)
            assert time.monotonic() - began > 2
            # A claim of the replica that is ahead ends when it ends, for the one that is behind as well.
            first = pool.submit(get, two.url, caller, "/api/proxy/charge", "POST", **{"Idempotency-Key": "k"})
            until(lambda: made)
            kill(two.process.pid)
            two.process.wait()
            got = again(three.url, caller)
            assert (got.status, got.data, len(made)) == (201, {"n": 2}, 2)
            took = made[1] - made[0]
            assert took > 5.5  # the claim lasts for the timeout and 5 s
            assert again(one.url, caller).data == {"n": 2}
            with suppress(Exception):
                first.result()
            print(f"\nmade again {took - 6:.2f} s after the end of its holder's claim")


def again(url: str, token: str) -> Any:
    while (got := get(url, token, "/api/proxy/charge", "POST", **{"Idempotency-Key": "k"})).status == 409:
        pass
    return got
