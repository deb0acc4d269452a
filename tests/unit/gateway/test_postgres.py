"""What of the PostgreSQL store tests/integration/stores does not show of every store."""

from __future__ import annotations

import asyncio
import secrets
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest

from oo.gateway.errors import StoreError, StoreUnavailable
from oo.gateway.models import Denial, Grant, Rate, Route
from oo.gateway.moving import migrate
from oo.gateway.postgres import PostgresStore
from oo.gateway.sealing import Keyring, new_key
from oo.gateway.store.postgres.schema import GATEWAY_GRANTS
from oo.gateway.store.records import Records
from tests.support import earlier
from tests.support.postgres import forbidding, say
from tests.support.vaults import RING


@pytest.fixture
async def store(store: PostgresStore) -> PostgresStore:
    await store.put_secret("a", "x")
    return store


async def test_another_key_or_no_store_is_said(place: str) -> None:
    with pytest.raises(StoreError, match="the master key does not open the store at postgres://"):
        async with PostgresStore(place, lambda: Keyring([new_key()])):
            raise AssertionError("it opened")
    await say(place, "DROP SCHEMA oo CASCADE")
    with pytest.raises(StoreError, match=r"there is no store at .*: run `oo init`"):
        async with PostgresStore(place, lambda: RING):
            raise AssertionError("it opened")


async def test_a_store_without_a_standby_is_warned_of(store: PostgresStore, monkeypatch: pytest.MonkeyPatch) -> None:
    (said,) = await store.warnings()
    assert "no synchronous standby" in said
    monkeypatch.setenv("OO_STORE_REPLICATED", "1")
    assert await store.warnings() == []
    monkeypatch.delenv("OO_STORE_REPLICATED")
    monkeypatch.setattr("oo.gateway.postgres._STANDBYS", "SELECT 'FIRST 1 (a)', 'on'")
    assert await store.warnings() == []


@pytest.mark.parametrize(("word", "count"), [("yes", 0), ("0", 1), ("FALSE", 1), ("perhaps", 2)])
async def test_whether_storage_keeps_copies_is_a_yes_or_a_no(
    word: str, count: int, store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OO_STORE_REPLICATED", word)
    found = await store.warnings()
    assert len(found) == count
    assert (count == 2) == any("OO_STORE_REPLICATED is 'perhaps'" in warning for warning in found)


async def test_those_who_miss_at_once_share_a_look(store: PostgresStore, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[object] = []
    read = store._read

    async def counted(work: Any) -> Any:
        reads.append(work)
        return await read(work)

    monkeypatch.setattr(store, "_read", counted)
    assert await asyncio.gather(*(store.secret("a") for _ in range(20))) == ["x"] * 20
    assert await store.secret("a") == "x"
    assert len(reads) == 1
    asking = [asyncio.create_task(store.route("none")) for _ in range(2)]
    await asyncio.sleep(0)
    asking[0].cancel()
    assert await asking[1] is None


async def test_an_answer_of_another_epoch_is_not_kept(store: PostgresStore, place: str) -> None:
    async def late(records: Records) -> str:
        await records.find("secret", "a", 1)  # of the moment before the change
        await say(place, "UPDATE oo.epoch SET version = version + 1")
        return "late"

    assert await store._kept("key", late) == "late"  # type: ignore[arg-type]
    assert await store._kept("key", lambda records: records.names("head")) == ["a"]  # type: ignore[arg-type]


async def test_uses_raise_no_epoch_and_an_owner_does(store: PostgresStore) -> None:
    async def version() -> int:
        store._epochs.expire()
        return (await store._epochs.current()).version

    await store.put_route(Route("r", "http://127.0.0.1:9"))
    token = await store.issue("route", "r", uses=9, rate=Rate(9, 9.0))
    before = await version()
    await store.authorize(token, "route")
    await store.consume(token, "route")
    fence = await store.claim(token, "k", 60)
    assert isinstance(fence, bytes)
    await store.complete(store.id_of(token), "k", fence, b"d", None)
    assert await version() == before
    await store.put_secret("a", "y")
    assert await version() == before + 1


async def test_a_token_whose_terms_change_all_the_time_is_unavailable(
    store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def stale(*_: object) -> str:
        return "stale"

    for room, what in ((store._uses, "consume"), (store._uses, "charge"), (store._calls, "claim")):
        monkeypatch.setattr(room, what, stale)
    await store.put_route(Route("r", "http://127.0.0.1:9"))
    token = await store.issue("route", "r", uses=9, rate=Rate(9, 9.0))
    for asked in (store.consume(token, "route"), store.authorize(token, "route"), store.claim(token, "k", 60)):
        with pytest.raises(StoreUnavailable, match="faster than they can be read"):
            await asked


async def test_a_revocation_between_the_look_and_the_use_counts_none(
    store: PostgresStore, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = await store.issue("secret", "a", uses=9)
    identity = store.id_of(token)
    consume = store._uses.consume

    async def later(found: Any) -> Any:
        monkeypatch.setattr(store._uses, "consume", consume)
        async with PostgresStore(place, lambda: RING) as other:
            await other._change(lambda records: records.rows.revise_token(identity))
            await other.revoke(identity)
        return await consume(found)

    monkeypatch.setattr(store._uses, "consume", later)
    assert await store.consume(token, "secret") == Denial("revoked", identity)
    assert [each.used for each in await store.tokens()] == [0]


async def test_nothing_is_opened_while_the_engine_is_away_and_all_after(store: PostgresStore, place: str) -> None:
    token = await store.issue("secret", "a", uses=9)
    assert isinstance(await store.consume(token, "secret"), Grant)
    with forbidding(place):
        for asked in (store.consume(token, "secret"), store.opens(token, "secret"), store.secret("a")):
            with pytest.raises(StoreUnavailable):
                await asked
    began = time.monotonic()
    while True:
        try:
            assert isinstance(await store.consume(token, "secret"), Grant)
            break
        except StoreUnavailable:
            assert time.monotonic() - began < 20
            await asyncio.sleep(0.02)
    assert [each.used for each in await store.tokens()] == [2]


async def test_of_an_unknown_token_there_are_no_terms(store: PostgresStore, place: str) -> None:
    assert await store.terms("oo_x") == Denial("malformed")
    token = await store.issue("secret", "a", uses=9)
    assert isinstance(await store.terms(token), tuple)
    await say(place, "DELETE FROM oo.uses")
    assert await store.terms(token) == Denial("unknown")


async def test_a_token_expires_by_the_engines_clock(store: PostgresStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 0.0)
    token = await store.issue("secret", "a", ttl=3600)
    assert isinstance(await store.opens(token, "secret"), Grant)
    assert (await store.tokens())[0].issued > 1_500_000_000


async def test_terms_from_before_are_good_for_what_the_engine_compares_and_for_nothing_else(
    store: PostgresStore, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.put_route(Route("r", "http://127.0.0.1:9"))
    counted, free = [await store.issue("route", "r", uses=uses) for uses in (9, None)]
    for token in (counted, free):
        assert isinstance(await store.opens(token, "route"), Grant)
    looks: list[object] = []
    opened = store._opened

    async def looked(token: str, kind: Any) -> Any:
        looks.append(token)
        return await opened(token, kind)

    monkeypatch.setattr(store, "_opened", looked)
    assert isinstance(await store.consume(counted, "route"), Grant)
    assert isinstance(await store.claim(counted, "k", 60), bytes)
    assert isinstance(await store.claim(free, "k", 60), bytes)
    assert looks == []
    assert isinstance(await store.consume(free, "route"), Grant)
    assert isinstance(await store.consume(counted, "secret"), Denial)  # what is refused is refused by what is true
    assert looks == [free, counted]
    async with PostgresStore(place, lambda: RING) as other:
        for token in (counted, free):
            await other.revoke(other.id_of(token))
    for asked in (store.consume(counted, "route"), store.claim(counted, "l", 60), store.claim(free, "l", 60)):
        found = await asked
        assert isinstance(found, Denial)
        assert found.why == "revoked"


async def test_what_was_asked_early_of_other_terms_is_asked_again(store: PostgresStore, place: str) -> None:
    token = await store.issue("secret", "a", uses=1)
    assert isinstance(await store.consume(token, "secret"), Grant)
    await store.put_secret("a", "y")
    assert await store.authorize(token, "secret") == Denial("used up", store.id_of(token), target="a")
    assert await store.authorize(token, "secret") == Denial("used up", store.id_of(token), target="a")
    with forbidding(place), pytest.raises(StoreUnavailable):
        await store.authorize(token, "secret")


async def test_a_version_is_kept_though_others_change_something_and_not_for_ever(
    store: PostgresStore, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("oo.gateway.postgres._PAUSE", 0.0)
    keep, tries = store._keep, 0

    async def late(*version: object) -> bool:
        nonlocal tries
        tries += 1
        if tries < 3:
            await say(place, "UPDATE oo.epoch SET version = version + 1")
        return await keep(*version)

    monkeypatch.setattr(store, "_keep", late)
    assert (await store.put_secret("a", "y"), tries) == (2, 3)

    async def never(*_: object) -> bool:
        return False

    monkeypatch.setattr(store, "_keep", never)
    with pytest.raises(StoreUnavailable, match="faster than it can be read"):
        await store.put_secret("a", "z")
    assert await store.secret("a") == "y"


async def test_a_replica_is_ready_while_its_lease_is_confirmed(store: PostgresStore, place: str) -> None:
    await store.check()
    with forbidding(place), pytest.raises(StoreUnavailable):
        await store.check()


async def test_an_earlier_store_is_brought_up_by_its_owner_and_by_no_role_of_gateways(
    postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OO_MASTER_KEY", earlier.KEY.hex())
    earlier.make(tmp_path / "home")
    await migrate(str(tmp_path / "home"), postgres)
    role = f"gateway_{secrets.token_hex(4)}"
    await say(postgres, f"CREATE ROLE {role} LOGIN; {GATEWAY_GRANTS.replace('gateway', role)}")
    url = urlsplit(postgres)
    mine = urlunsplit(url._replace(netloc=f"{role}@{url.netloc.rpartition('@')[2]}"))
    with pytest.raises(
        StoreError, match=r"is of an earlier version: a command of its owner, such as `oo store status`"
    ):
        async with PostgresStore(mine, lambda: earlier.RING):
            raise AssertionError("it opened")
    async with PostgresStore(postgres, lambda: earlier.RING) as owner:
        await earlier.assert_whole(owner)
    async with PostgresStore(mine, lambda: earlier.RING) as gateway:
        await earlier.assert_whole(gateway)
        assert await gateway.put_secret("a", "rotated") == 3
        with pytest.raises(StoreError, match="the role may not do that"):
            await gateway.rekey(earlier.RING, deep=True)
    await say(postgres, f"DROP OWNED BY {role}; DROP ROLE {role}")


async def test_a_store_that_cannot_be_given_keys_at_the_moment_is_unavailable(
    postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OO_MASTER_KEY", earlier.KEY.hex())
    earlier.make(tmp_path / "home")
    await migrate(str(tmp_path / "home"), postgres)

    async def lost(_: object, work: object) -> None:
        raise StoreUnavailable("lost")

    monkeypatch.setattr(PostgresStore, "_change", lost)
    with pytest.raises(StoreUnavailable, match="lost"):
        async with PostgresStore(postgres, lambda: earlier.RING):
            raise AssertionError("it opened")
