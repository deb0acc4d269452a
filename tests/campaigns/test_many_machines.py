"""What is true of gateways over one PostgreSQL whatever fails: the engine is killed, its primary replaced, the link to
it broken, a gateway killed or stopped, while callers spend uses and owners revoke.

Each is short here; `OO_FAILURES=20 pytest -m campaign -n 0 -s tests/campaigns/test_many_machines.py` for a campaign.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from oo.gateway.errors import StoreError, StoreUnavailable
from oo.gateway.models import Denial, Grant, Route, StoredResponse
from oo.gateway.postgres import PostgresStore, create
from oo.gateway.sealing import Keyring, new_key
from tests.support.faults import answer, serving
from tests.support.link import Link, Mode
from tests.support.postgres import Engine, database, engine_in, installed, say
from tests.support.processes import Home, get, needs_proc, until
from tests.support.waiting import PATIENCE

pytestmark = pytest.mark.campaign

FAILURES = int(os.environ.get("OO_FAILURES", "2"))
LOST = 1.0  # seconds after which nothing may be opened without the engine
RING = Keyring([new_key()])
ANSWER = StoredResponse(201, (), b"answer")
USES = 2_000


class Load:
    """Callers of some replicas, who spend uses and make keyed calls; and what each was told."""

    def __init__(self, stores: list[PostgresStore]) -> None:
        self.stores = stores
        self.granted: Counter[str] = Counter()
        self.kept: list[tuple[str, str]] = []
        self.last = [0.0] * len(stores)
        self.refused: Counter[str] = Counter()
        self.tokens: list[str] = []
        self.caller = ""
        self._stop = False

    async def prepare(self) -> None:
        first = self.stores[0]
        await first.put_secret("s", "x")
        await first.put_route(Route("r", "http://127.0.0.1:9"))
        self.tokens = [await first.issue("secret", "s", uses=uses) for uses in (3, 40, USES)]
        self.caller = await first.issue("route", "r")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        tasks = [
            asyncio.create_task(work(n, store))
            for n, store in enumerate(self.stores)
            for work in (self._spend, self._spend, self._call)
        ]
        try:
            yield
        finally:
            self._stop = True
            await asyncio.gather(*tasks)
            self._stop = False

    async def _spend(self, who: int, store: PostgresStore) -> None:
        turn = 0
        while not self._stop:
            turn += 1
            token = self.tokens[turn % len(self.tokens)]
            try:
                found = await store.consume(token, "secret")
            except StoreUnavailable:
                self.refused["unavailable"] += 1
                await asyncio.sleep(0.005)
                continue
            if isinstance(found, Grant):
                self.granted[token] += 1
                self.last[who] = time.monotonic()
            else:
                assert found.why == "used up"
            await asyncio.sleep(0.001)

    async def _call(self, who: int, store: PostgresStore) -> None:
        turn, identity = 0, store.id_of(self.caller)
        while not self._stop:
            turn += 1
            key = f"{who}.{turn}.{time.monotonic()}"
            try:
                fence = await store.claim(self.caller, key, 60)
                assert isinstance(fence, bytes)
                self.last[who] = time.monotonic()
                await store.complete(identity, key, fence, b"digest", ANSWER)
                self.kept.append((identity, key))
            except StoreUnavailable:
                await asyncio.sleep(0.005)
            await asyncio.sleep(0.002)

    async def check(self, place: str) -> None:
        """No use over a limit, and no acknowledged answer lost."""
        async with PostgresStore(place, lambda: RING) as store:
            counted = {each.id: (each.used, each.uses) for each in await store.tokens()}
            for token in self.tokens:
                used, uses = counted[store.id_of(token)]
                assert uses is not None
                assert self.granted[token] <= used <= uses
            for identity, key in self.kept[-300:]:
                assert await store.result(identity, key, b"digest") == ANSWER

    async def back(self) -> float:
        """How long it takes until every replica grants something again."""
        began = time.monotonic()
        while min(self.last) < began:
            assert time.monotonic() - began < PATIENCE, self.refused
            await asyncio.sleep(0.005)
        return max(self.last) - began


@asynccontextmanager
async def replicas(place: str, count: int = 2) -> AsyncIterator[Load]:
    async with AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(PostgresStore(place, lambda: RING)) for _ in range(count)]
        load = Load(stores)
        await load.prepare()
        yield load


@pytest.fixture(scope="module")
def binaries() -> Iterator[Path]:
    with installed() as home:
        yield home


@pytest.fixture
def engine(binaries: Path, request: pytest.FixtureRequest) -> Iterator[Engine]:
    engine = engine_in(binaries, f"one{abs(hash(request.node.name))}")
    engine.init()
    engine.start()
    yield engine
    engine.stop()


async def test_the_engine_is_killed_over_and_over(engine: Engine) -> None:
    await create(engine.url, RING)
    took = []
    async with replicas(engine.url) as load:
        for _ in range(FAILURES):
            async with load.running():
                await asyncio.sleep(0.5)
                await asyncio.to_thread(engine.kill)
                lost = time.monotonic()
                await asyncio.sleep(1.5)
                assert max(load.last) - lost <= LOST
                await asyncio.to_thread(engine.start)
                took.append(await load.back())
            await load.check(engine.url)
    assert load.refused["unavailable"] > 0
    print(f"\nanswered {max(took):.2f} s after the engine was back, at most")


class Pair:
    """A primary and its synchronous standby, on two ports that change their roles."""

    def __init__(self, binaries: Path, name: str) -> None:
        self.primary = engine_in(binaries, f"{name}-a")
        self.standby = engine_in(binaries, f"{name}-b")
        ports = f"127.0.0.1:{self.primary.port},127.0.0.1:{self.standby.port}"
        self.place = f"postgres://postgres@{ports}/postgres"

    def start(self) -> None:
        self.primary.init()
        self.primary.start()
        self.attach()

    def attach(self) -> None:
        """Make the other one the synchronous standby of the primary."""
        standby = self.standby
        source = ("-h", "127.0.0.1", "-p", str(self.primary.port), "-U", "postgres")
        standby.call("pg_basebackup", "-D", str(standby.data), "-R", "-X", "stream", "-c", "fast", *source)
        with open(standby.data / "postgresql.auto.conf", "a") as settings:
            settings.write("\nsynchronous_standby_names = ''\n")
        standby.start()
        self._say(self.primary, "ALTER SYSTEM SET synchronous_standby_names = '*'")
        self._say(self.primary, "SELECT pg_reload_conf()")
        self._say(self.primary, "SELECT pg_sleep(0.3)")

    def replace(self) -> None:
        """Kill the primary, and make its standby the new one."""
        self.primary.kill()
        self.standby.call("pg_ctl", "promote", "-w", "-D", str(self.standby.data))
        self.primary, self.standby = self.standby, self.primary

    def renew(self) -> None:
        """Give the new primary a standby, where the old one was."""
        import shutil

        shutil.rmtree(self.standby.data)
        self.attach()

    def stop(self) -> None:
        for each in (self.primary, self.standby):
            each.stop()

    def _say(self, engine: Engine, statement: str) -> None:
        asyncio.run(say(engine.url, statement))


async def test_the_primary_is_replaced_by_its_standby_over_and_over(binaries: Path) -> None:
    pair, took = Pair(binaries, "promoted"), []
    await asyncio.to_thread(pair.start)
    try:
        await create(pair.place, RING)
        async with replicas(pair.place) as load:
            for _ in range(FAILURES):
                async with load.running():
                    await asyncio.sleep(0.5)
                    await asyncio.to_thread(pair.replace)
                    took.append(await load.back())
                await load.check(pair.place)
                await asyncio.to_thread(pair.renew)
        assert load.kept
        print(f"\nanswered {max(took):.2f} s after the standby was promoted, at most")
    finally:
        await asyncio.to_thread(pair.stop)


async def test_a_primary_without_its_standby_acknowledges_nothing_and_opens_nothing(binaries: Path) -> None:
    pair = Pair(binaries, "split")
    await asyncio.to_thread(pair.start)
    try:
        await create(pair.primary.url, RING)
        async with replicas(pair.primary.url, 1) as load:
            async with load.running():
                await asyncio.sleep(0.3)
                await asyncio.to_thread(pair.standby.kill)
                lost = time.monotonic()
                await asyncio.sleep(3.0)
                # It answers what is read, as the old primary of a split would.
                assert load.last[0] - lost <= LOST + 0.3
                with pytest.raises(StoreUnavailable):
                    await load.stores[0].opens(load.tokens[2], "secret")
                await asyncio.to_thread(pair.standby.start)
                await load.back()
            await load.check(pair.primary.url)
    finally:
        await asyncio.to_thread(pair.stop)


@pytest.mark.parametrize("mode", ["cut", "reset", "half open", "slow"])
async def test_the_link_to_the_engine_is_broken(engine: Engine, mode: Mode) -> None:
    await create(engine.url, RING)
    async with Link(engine.port) as link, replicas(engine.url.replace(str(engine.port), str(link.port))) as load:
        for _ in range(FAILURES):
            async with load.running():
                await asyncio.sleep(0.3)
                link.set(mode)
                lost = time.monotonic()
                await asyncio.sleep(2.0)
                if mode != "slow":
                    assert max(load.last) - lost <= LOST
                link.set("open")
                took = await load.back()
            await load.check(engine.url)
            print(f"\nanswered {took:.2f} s after the link was {mode}")


async def test_nothing_is_opened_by_who_asks_after_a_revocation_returned(engine: Engine) -> None:
    await create(engine.url, RING)
    async with replicas(engine.url, 3) as load, PostgresStore(engine.url, lambda: RING) as owner:
        wrong, asked = [], 0
        for _ in range(5 * FAILURES):
            token = await owner.issue("secret", "s")
            revoked, stop = asyncio.Event(), asyncio.Event()
            after: list[Any] = []

            async def ask(store: PostgresStore, token: str = token, stop: Any = stop, revoked: Any = revoked) -> None:
                while not stop.is_set():
                    late = revoked.is_set()
                    found = await store.opens(token, "secret")
                    if late:
                        after.append(found)  # noqa: B023  # read before the next round
                    await asyncio.sleep(0)

            asking = [asyncio.create_task(ask(store)) for store in load.stores for _ in range(4)]
            await asyncio.sleep(0.05)
            await owner.revoke(owner.id_of(token))
            revoked.set()
            while len(after) < 1000:
                await asyncio.sleep(0.01)
            stop.set()
            await asyncio.gather(*asking)
            asked += len(after)
            wrong += [found for found in after if not isinstance(found, Denial)]
        assert wrong == []
        assert asked >= 5000 * FAILURES


@needs_proc
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_gateway_that_dies_or_stops_between_claim_and_settle_leaves_its_call_to_the_next(
    postgres_engine: str, tmp_path: Path, number: signal.Signals
) -> None:
    made: list[float] = []

    def upstream(_request: bytes) -> bytes:
        made.append(time.monotonic())
        if len(made) == 1:
            time.sleep(3)  # until its gateway is gone
        return answer(b'{"n": %d}' % len(made), b"Content-Type: application/json", status=b"201 Created")

    with database(postgres_engine) as url, serving(reply=upstream) as api:
        home = Home(tmp_path / "one", OO_STORE=url, OO_STORE_REPLICATED="1")
        assert home.oo("init").returncode == 0
        route = ("--upstream", api.url, "--allow-private", "--timeout", "1")
        done = home.oo("route", "set", "pay", *route)
        assert done.returncode == 0, done.stderr
        token = home.oo("token", "issue", "--route", "pay", "--uses", "2").stdout.strip()
        with home.serve() as one, home.serve() as two, ThreadPoolExecutor(2) as pool:
            first = pool.submit(get, one.url, token, "/api/proxy/charge", "POST", **{"Idempotency-Key": "k"})
            until(lambda: made)
            one.process.send_signal(number)
            began = time.monotonic()
            if number == signal.SIGSTOP:
                time.sleep(6.5)  # past its claim, which lasts for the timeout and 5 s
                one.process.send_signal(signal.SIGCONT)
            got = get(two.url, token, "/api/proxy/charge", "POST", **{"Idempotency-Key": "k"})
            while got.status == 409:
                got = get(two.url, token, "/api/proxy/charge", "POST", **{"Idempotency-Key": "k"})
            assert (got.status, got.data) == (201, {"n": 2}), got.body
            assert made[1] - began < PATIENCE
            assert first.exception() is not None or first.result().status in (201, 409, 502, 503, 504)
            # Whoever lost the claim has changed nothing of it.
            again = get(two.url, token, "/api/proxy/charge", "POST", **{"Idempotency-Key": "k"})
            assert (again.status, again.data, len(made)) == (201, {"n": 2}, 2)
            print(f"\nmade again {made[1] - made[0]:.2f} s after it was made first, of a claim of 6 s")
        used = [each["used"] for each in json.loads(home.oo("token", "list", "--json").stdout)]
        assert used == [2]
    assert not isinstance(first.exception(), StoreError)
