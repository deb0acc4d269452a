from __future__ import annotations

import asyncio
import time
from typing import Any

import asyncpg
import pytest

from oo.gateway.errors import StoreError, StoreUnavailable
from oo.gateway.store.postgres import connections as connecting
from oo.gateway.store.postgres.connections import Connection, Connections, connect, connected
from oo.gateway.store.postgres.place import parse
from tests.support.faults import SILENCE, nobody, serving
from tests.support.postgres import free_port, say

READ = "SELECT value FROM oo.meta WHERE name = 'x'"


async def read(connections: Connections) -> Any:
    return await connections.run(lambda db: db.fetchval(READ))


async def test_work_goes_on_where_whoever_asked_has_left(connections: Connections) -> None:
    begun = asyncio.Event()

    async def write(db: Connection) -> None:
        begun.set()
        await db.execute("SELECT pg_sleep(0.1)")
        await db.execute("INSERT INTO oo.meta VALUES ('x', 'done')")

    asking = asyncio.create_task(connections.run(write))
    await begun.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await connections.close()
    assert await read(connections) == "done"


async def test_what_does_not_answer_in_time_has_its_socket_closed_and_is_not_cancelled(
    connections: Connections,
) -> None:
    began = time.monotonic()
    slow = "INSERT INTO oo.meta SELECT 'x', 'done' FROM pg_sleep(0.5)"
    with pytest.raises(StoreUnavailable, match="does not answer") as caught:
        await connections.run(lambda db: db.execute(slow), within=0.05)
    assert time.monotonic() - began < 5
    assert caught.value.unsure
    with pytest.raises(StoreUnavailable) as caught:
        await connections.run(lambda db: db.fetchval("SELECT pg_sleep(0.5)"), within=0.05, writes=False)
    assert not caught.value.unsure
    while await read(connections) is None:  # the engine has gone on
        await asyncio.sleep(0.05)
    assert await read(connections) == "done"


async def test_behind_a_pooler_nothing_is_prepared(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def prepared() -> int:
        connection = await connect(parse(place))
        try:
            for _ in range(3):
                await connection.fetchval(READ)
            return int(await connection.fetchval("SELECT count(*) FROM pg_prepared_statements"))
        finally:
            connection.terminate()

    assert await prepared() > 0
    # A pooler says of itself that it is another process.
    monkeypatch.setattr(asyncpg.Connection, "get_server_pid", lambda _: 1)
    assert await prepared() == 0


async def test_a_connection_that_broke_is_not_used_again(connections: Connections, place: str) -> None:
    async def own(db: Connection) -> int:
        return int(await db.fetchval("SELECT pg_backend_pid()"))

    first = await connections.run(own)
    assert await connections.run(own) == first
    await say(place, f"SELECT pg_terminate_backend({first})")
    await asyncio.sleep(0.2)
    assert await connections.run(own) != first

    async def ended(db: Connection) -> None:
        await db.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    with pytest.raises(StoreUnavailable, match="does not answer"):
        await connections.run(ended)
    assert await read(connections) is None


async def test_what_the_engine_undid_is_done_again(connections: Connections) -> None:
    tries = 0

    async def undone(db: Connection, times: int) -> str:
        nonlocal tries
        tries += 1
        if tries <= times:
            await db.execute("DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '40P01'; END $$")
        return "done"

    assert await connections.run(lambda db: undone(db, 2)) == "done"
    assert tries == 3
    tries = 0
    with pytest.raises(StoreUnavailable, match="busy") as caught:
        await connections.run(lambda db: undone(db, 9))
    assert (tries, caught.value.unsure) == (3, False)


@pytest.mark.parametrize(
    ("state", "kind"),
    [("25006", StoreUnavailable), ("57P01", StoreUnavailable), ("42P01", StoreUnavailable), ("22012", StoreError)],
)
async def test_an_error_of_the_engine_is_told_without_its_words(
    connections: Connections, state: str, kind: type[StoreError]
) -> None:
    with pytest.raises(StoreError) as caught:
        await connections.run(
            lambda db: db.execute(f"DO $$ BEGIN RAISE EXCEPTION 'canary' USING ERRCODE = '{state}'; END $$")
        )
    assert (type(caught.value), "canary" in str(caught.value)) == (kind, False)
    assert caught.value.__cause__ is None
    assert await read(connections) is None


async def test_work_that_breaks_is_not_the_engines_fault(connections: Connections) -> None:
    async def breaks(_: Connection) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await connections.run(breaks)
    assert await read(connections) is None


async def test_nobody_is_connected_to_more_often_than_told(connections: Connections) -> None:
    count = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'oo'"

    async def counted(db: Connection) -> int:
        await asyncio.sleep(0.02)
        return int(await db.fetchval(count))

    assert max(await asyncio.gather(*(connections.run(counted) for _ in range(10)))) == 2


@pytest.mark.parametrize("silent", [True, False])
async def test_where_nobody_answers_it_is_unavailable(monkeypatch: pytest.MonkeyPatch, silent: bool) -> None:
    monkeypatch.setattr(connecting, "CONNECT", 0.2)
    if silent:
        with serving([SILENCE]) as server:
            await assert_unreachable(server.address)
    else:
        with nobody() as url:
            await assert_unreachable(url.partition("//")[2])


async def assert_unreachable(address: str) -> None:
    connections = Connections(parse(f"postgres://{address}/db", {}))
    with pytest.raises(StoreUnavailable, match="cannot be reached") as caught:
        await connections.run(lambda db: db.execute("SELECT 1"))
    assert not caught.value.unsure
    await connections.close()


@pytest.mark.parametrize(
    ("setting", "said"), [("synchronous_commit", "synchronous_commit off"), ("default_transaction_read_only", None)]
)
async def test_an_engine_that_may_lose_what_it_acknowledges_is_refused(
    place: str, setting: str, said: str | None
) -> None:
    name = place.rpartition("/")[2]
    value = "off" if said else "on"
    await say(place, f"ALTER DATABASE {name} SET {setting} = {value}")
    if said is None:
        connections = Connections(parse(place))
        with pytest.raises(StoreUnavailable, match="takes no writes"):
            await connections.run(lambda db: db.execute("INSERT INTO oo.meta VALUES ('x', 'y')"))
        await connections.close()
    else:
        with pytest.raises(StoreError, match=said):
            await connect(parse(place))


@pytest.mark.parametrize(
    ("row", "kind"), [(("on", "off", False), StoreError), (("on", "on", True), StoreUnavailable), (None, StoreError)]
)
async def test_what_an_engine_says_of_itself_is_looked_at(
    place: str, monkeypatch: pytest.MonkeyPatch, row: Any, kind: type[StoreError]
) -> None:
    async def says(*_: object, **__: object) -> Any:
        if row is None:
            raise asyncpg.InterfaceError("canary")
        return row

    monkeypatch.setattr(asyncpg.Connection, "fetchrow", says)
    with pytest.raises(kind):
        await connect(parse(place))


async def test_a_database_or_user_that_is_none_is_said(place: str) -> None:
    with pytest.raises(StoreUnavailable, match=r"no such database: create it .* \(3D000\)"):
        await connect(parse(place.rpartition("/")[0] + "/none"))
    with pytest.raises(StoreError, match="connection refused: does PostgreSQL listen there"):
        await connect(parse(f"postgres://127.0.0.1:{free_port()}/db?passfile=/nowhere&sslmode=disable"))


@pytest.mark.parametrize(
    ("statement", "kind", "said"),
    [
        ("SELECT canary FROM oo.meta", StoreError, "refused: its tables are not those of this version (42703)"),
        ("SELECT 1 FROM oo.canary", StoreUnavailable, "run `oo init`"),
        ("SELECT pg_terminate_backend(pg_backend_pid())", StoreUnavailable, "does not answer: "),
    ],
)
async def test_what_fails_on_a_connection_of_ones_own_is_said(
    place: str, statement: str, kind: type[StoreError], said: str
) -> None:
    with pytest.raises(StoreError) as caught:
        async with connected(parse(place)) as connection:
            await connection.execute(statement)
    assert type(caught.value) is kind
    assert said in str(caught.value)
    assert "canary" not in str(caught.value)


async def test_what_is_abandoned_is_not_waited_for(connections: Connections) -> None:
    working = asyncio.create_task(connections.run(lambda db: db.execute("SELECT pg_sleep(30)")))
    await asyncio.sleep(0.1)
    connections.abandon()
    with pytest.raises(StoreUnavailable) as caught:
        await working
    assert caught.value.unsure
    assert await read(connections) is None
