"""What every store does with its data keys, seen by two who have it open."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from oo.gateway import moving, open_store
from oo.gateway.errors import StoreError, StoreUnavailable
from oo.gateway.models import Grant, Route, SecretRef, StoredResponse
from oo.gateway.sealing import Keyring, key_id, new_key
from oo.gateway.services import create_store, rekey_store
from oo.gateway.store.base import Keeper
from tests.integration.stores.conftest import Open
from tests.support import earlier
from tests.support.bao import Bao
from tests.support.postgres import free_port
from tests.support.vaults import claimed

ANSWER = StoredResponse(200, (("X", "1"),), bytes(600_000))


def turn(ring: Keyring, *keys: bytes) -> Keyring:
    """Have the ring, as every opener loads it, hold other keys from now on."""
    ring.__init__(keys)  # type: ignore[misc]  # as a file is written anew
    return Keyring(keys)


async def fill(keeper: Keeper) -> str:
    await keeper.put_secret("a", "value")
    await keeper.put_environment("e", {"S": SecretRef("a")})
    await keeper.put_route(Route("r", "http://127.0.0.1:9"))
    return await keeper.issue("route", "r", uses=100)


async def test_each_record_is_sealed_with_the_key_of_its_purpose(keeper: Keeper, other: Keeper) -> None:
    await fill(keeper)
    rows = {row.purpose: row for row in await other.keys()}
    assert set(rows) == {"secrets", "environments", "routes", "tokens", "results"}
    await keeper.rekey(other.keeper._keys.masters, deep=True)  # type: ignore[attr-defined]
    numbers = sorted((row.number, row.purpose) for row in await other.keys())
    assert numbers == [(1, "results"), *((2, purpose) for purpose in sorted(rows))]


@pytest.mark.parametrize("deep", [False, True])
async def test_a_rekey_changes_nothing_for_others_and_what_they_write_opens(
    keeper: Keeper, other: Keeper, ring: Keyring, opened: Open, deep: bool
) -> None:
    token = await fill(keeper)
    (old,) = ring.own
    for n in range(3):
        new = new_key()
        masters = turn(ring, ring.own[-1], new)
        assert await keeper.rekey(masters, deep=deep) >= 5
        turn(ring, new)
        assert isinstance(await other.consume(token, "route"), Grant)
        assert await other.secret("a") == ("value" if n == 0 else f"value {n - 1}")
        assert await other.environment("e") == {"S": await keeper.secret("a")}
        await (keeper if n % 2 else other).put_secret("a", f"value {n}")
        third = await opened()
        assert await third.secret("a") == await other.secret("a") == f"value {n}"
        assert {row.sealed[0] for row in await third.keys()} == {key_id(new)}
    turn(ring, old)
    with pytest.raises(StoreError, match="the master key does not open"):
        await opened()


async def test_what_was_answered_before_during_and_after_a_deep_rekey_is_found_by_all(
    keeper: Keeper, other: Keeper, ring: Keyring
) -> None:
    token = await fill(keeper)
    caller = (token, keeper.id_of(token))
    for n in range(3):
        for place, by in (("before", keeper), ("stale", other)):
            fence = await claimed(by, caller, f"{place} {n}")  # type: ignore[arg-type]  # any keeper
            await by.complete(caller[1], f"{place} {n}", fence, b"d", ANSWER)
        await keeper.rekey(ring, deep=True)
        fence = await claimed(keeper, caller, f"after {n}")  # type: ignore[arg-type]
        await keeper.complete(caller[1], f"after {n}", fence, b"d", ANSWER)
        for each in (keeper, other):
            for place in ("before", "stale", "after"):
                found = await each.result(caller[1], f"{place} {n}", b"d")
                assert isinstance(found, StoredResponse)
                body = found.body if isinstance(found.body, bytes) else b"".join([piece async for piece in found.body])
                assert body == ANSWER.body


async def test_without_a_key_for_results_a_call_is_made_once_and_its_answer_gone(keeper: Keeper, opened: Open) -> None:
    token = await fill(keeper)
    caller = (token, keeper.id_of(token))
    (row,) = [row for row in await keeper.keys() if row.purpose == "results"]
    await keeper._change(lambda records: records.rows.delete(*row.place[:2]))  # type: ignore[attr-defined]
    damaged = await opened()
    fence = await claimed(damaged, caller, "k")  # type: ignore[arg-type]  # any keeper
    with pytest.raises(StoreError, match="no key for results"):
        await damaged.complete(caller[1], "k", fence, b"d", ANSWER)
    assert await damaged.result(caller[1], "k", b"d") == "gone"
    assert await damaged.claim(token, "k", 60) == "taken"


async def test_rekeys_and_writes_at_once_lose_nothing(keeper: Keeper, other: Keeper, ring: Keyring) -> None:
    token = await fill(keeper)
    done = False

    async def write() -> int:
        n = 0
        while not done:
            n += 1
            await other.put_secret("b", str(n))
            assert await other.secret("b") == str(n)
            assert isinstance(await keeper.opens(token, "route"), Grant)
        return n

    writing = asyncio.create_task(write())
    for _ in range(4):
        await keeper.rekey(turn(ring, *ring.own[-1:], new_key()), deep=True)
        await keeper.rekey(turn(ring, *ring.own[-1:], new_key()))
    done = True
    count = await writing
    assert await keeper.secret("b") == str(count)
    assert {row.number for row in await keeper.keys() if row.purpose == "secrets"} == {5}


@pytest.fixture(params=["sqlite", "postgres"])
async def places(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[str, str]]:
    """An earlier store, in which every record is sealed with the master key itself, and an empty place of the other
    kind."""
    monkeypatch.setenv("OO_MASTER_KEY", base64.b64encode(earlier.KEY).decode())
    postgres = request.getfixturevalue("postgres")
    earlier.make(tmp_path / "home")
    if request.param == "sqlite":
        yield str(tmp_path / "home"), postgres
        return
    await moving.migrate(str(tmp_path / "home"), postgres)
    yield postgres, str(tmp_path / "other")


async def test_an_earlier_store_is_given_keys_and_sealed_anew_when_it_is_told(places: tuple[str, str]) -> None:
    new = new_key()
    for _ in range(2):
        async with open_store.open_store(places[0], lambda: earlier.RING) as keeper:
            await earlier.assert_whole(keeper)
            assert len(await keeper.keys()) == 6
            assert "`oo rekey --deep` ends that" in (await keeper.warnings())[0]
    async with open_store.open_store(places[0], lambda: earlier.RING) as keeper:
        assert await keeper.rekey(Keyring([earlier.KEY, new])) == 6
    async with open_store.open_store(places[0], lambda: Keyring([new])) as keeper:
        await earlier.assert_whole(keeper)
        await keeper.rekey(Keyring([new]), deep=True)
        await earlier.assert_whole(keeper)
        assert key_id(earlier.KEY) not in {row.id for row in await keeper.keys()}
        assert not any("--deep" in warning for warning in await keeper.warnings())


async def test_two_who_open_an_earlier_store_at_once_give_it_one_set_of_keys(places: tuple[str, str]) -> None:
    async with AsyncExitStack() as stack:
        keepers = await asyncio.gather(
            *(stack.enter_async_context(open_store.open_store(places[0], lambda: earlier.RING)) for _ in range(3))
        )
        for n, keeper in enumerate(keepers):
            assert len(await keeper.keys()) == 6
            await keeper.put_secret("c", str(n))
        assert {await keeper.secret("c") for keeper in keepers} == {"2"}


@pytest.mark.parametrize("upgraded", [False, True])
async def test_keys_move_with_a_store_and_come_back(places: tuple[str, str], tmp_path: Path, upgraded: bool) -> None:
    source, target = places
    rows = []
    if upgraded:
        async with open_store.open_store(source) as keeper:
            await keeper.put_secret("a", "third")
            await keeper.put_secret("a", "second")
            rows = await keeper.keys()
    await moving.backup(source, tmp_path / "backup.db")
    await moving.migrate(source, target)
    with pytest.raises(StoreUnavailable, match="has moved to"):
        async with open_store.open_store(source) as keeper:
            await keeper.secret("a")
    await moving.restore(str(tmp_path / "restored"), tmp_path / "backup.db")
    for place in (target, str(tmp_path / "restored")):
        async with open_store.open_store(place) as keeper:
            assert await keeper.secret("a") == "second"
            assert len(await keeper.keys()) == 6
            assert not upgraded or await keeper.keys() == rows


async def test_a_data_key_that_does_not_open_stops_a_move(places: tuple[str, str]) -> None:
    source, target = places
    async with open_store.open_store(source) as keeper:
        row = (await keeper.keys())[0]
        broken = row._replace(sealed=(row.sealed[0], b"x" * 80))
        await keeper._change(lambda records: records.rows.put(broken.place, broken.sealed))  # type: ignore[attr-defined]
    with pytest.raises(
        StoreError, match=r"the data key .* does not open: it was changed, or the master key of that time is needed"
    ):
        await moving.migrate(source, target)


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_a_store_over_a_kms_goes_on_without_it(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest, bao: Bao, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in bao.environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("OO_HOME", str(tmp_path / "home"))
    place = str(tmp_path / "home") if kind == "sqlite" else request.getfixturevalue("postgres")
    assert (await asyncio.to_thread(create_store, place))[1] is None
    async with open_store.open_store(place) as keeper:
        token = await fill(keeper)
        assert await rekey_store(place) == (5, None)
        assert (await rekey_store(place, deep=True))[0] > 4
        assert await keeper.secret("a") == "value"
        await keeper.put_secret("a", "newer")
        monkeypatch.setenv("OO_KMS", f"openbao+http://127.0.0.1:{free_port()}/transit/keys/oo")
        assert isinstance(await keeper.consume(token, "route"), Grant)
        await keeper.put_secret("a", "newest")
        assert await keeper.secret("a") == "newest"
        with pytest.raises(StoreUnavailable, match=r"the KMS at .* does not answer"):
            async with open_store.open_store(place):
                raise AssertionError("it opened")
