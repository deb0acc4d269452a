"""What is true of gateways over one PostgreSQL whatever fails: the engine is killed, its primary replaced, the link to
it broken, a gateway killed or stopped, while callers spend uses and owners revoke.

Each is short here; `OO_FAILURES=20 pytest -m campaign -n 0 -s tests/campaigns/test_many_machines.py` for a campaign.
"""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from oo.gateway.errors import StoreError, StoreUnavailable
from oo.gateway.models import Denial
from oo.gateway.postgres import PostgresStore, create
from tests.support.faults import answer, serving
from tests.support.link import Link, Mode
from tests.support.load import FAILURES, RING, replicas
from tests.support.postgres import Engine, database, engine_in, installed
from tests.support.processes import Home, get, needs_proc, until
from tests.support.standby import Pair
from tests.support.waiting import PATIENCE

pytestmark = pytest.mark.campaign

LOST = 1.0  # seconds after which nothing may be opened without the engine


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
