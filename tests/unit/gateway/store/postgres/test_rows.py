from __future__ import annotations

import pytest

from oo.gateway.store.postgres.connections import Connection, Connections
from oo.gateway.store.postgres.rows import PostgresRows
from oo.gateway.store.rows import TokenRow


async def check(db: Connection) -> None:
    rows = PostgresRows(db)
    for version in (1, 2, 10):
        await rows.put(("secret", "a", version), ("key", b"%d" % version))
    await rows.put(("secret", "B", 1), ("other", b"x"))
    await rows.put(("secret", "B", 1), ("other", b"y"))
    assert await rows.find(("secret", "a", 2)) == ("key", b"2")
    assert await rows.find(("secret", "a", 3)) is None
    assert await rows.places("secret") == [("secret", "B", 1), *(("secret", "a", n) for n in (1, 2, 10))]
    assert await rows.places("secret", "B") == [("secret", "B", 1)]
    assert (await rows.every("secret"))[0] == (("secret", "B", 1), ("other", b"y"))
    assert (await rows.latest("secret", "a"), await rows.latest("secret", "none")) == (10, None)
    assert await rows.key_ids() >= {"key", "other"}
    assert ("secret", "B", 1) in await rows.sealed_otherwise(["key"], 100)
    assert len(await rows.sealed_otherwise(["none", "no"], 2)) == 2
    assert [await rows.delete("secret", "a") for _ in range(2)] == [True, False]
    assert await rows.meta("none") is None
    for value in ("x", "y"):
        await rows.set_meta("name", value)
    assert await rows.meta("name") == "y"
    for token in (b"\xff", b"\x00"):
        await rows.add_token(token, token.hex())
    await rows.revise_token("ff")
    assert await rows.tokens() == [TokenRow(b"\x00", "00", 0, 0), TokenRow(b"\xff", "ff", 0, 1)]
    assert await rows.token(b"\xff") == TokenRow(b"\xff", "ff", 0, 1)
    await rows.remove_token("ff")
    assert await rows.token(b"\xff") is None


@pytest.mark.parametrize("committed", [True, False])
async def test_rows_are_those_of_the_transaction(connections: Connections, committed: bool) -> None:
    async def work(db: Connection) -> None:
        transaction = db.transaction()
        await transaction.start()
        await check(db)
        await (transaction.commit() if committed else transaction.rollback())

    await connections.run(work)
    found = await connections.run(lambda db: PostgresRows(db).tokens())
    assert len(found) == committed
