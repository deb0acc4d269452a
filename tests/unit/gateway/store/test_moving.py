from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from oo.gateway.errors import IntegrityError, StoreError
from oo.gateway.sealing import Keyring, new_key
from oo.gateway.store.moving import CAME, MOVED, Counter, Made, Meta, Record, Row, checked_rows, unavailable

RING = Keyring([new_key()])
GOOD = Record("env", "e", 0, RING.current, RING.seal(RING.current, "env", "e", 0, b"x"))
DONE = Made("t", b"k", b"f", b"d", 1.0, 2.0, True, 3, 4, (b"p",))


class Rows:
    """A source of these rows. `closed` tells whether they were left."""

    def __init__(self, *rows: Row) -> None:
        self._rows = rows
        self.closed = False

    async def rows(self) -> AsyncGenerator[Row, None]:
        try:
            for row in self._rows:
                yield row
        finally:
            self.closed = True


async def copied(source: Rows, move: str = "") -> list[Row]:
    async with checked_rows(source, RING, move) as rows:  # type: ignore[arg-type]
        return [row async for row in rows]


async def test_rows_are_copied_as_they_are_sealed() -> None:
    rows = (Meta("key", "k"), GOOD, Counter(b"h", "id", 3, 0.5), DONE._replace(done=False))
    assert await copied(Rows(*rows)) == list(rows)


async def test_a_store_that_moved_says_by_which_move_and_leaves_no_call_open() -> None:
    rows = (Meta(MOVED, "x y"), Meta(CAME, "before"), Meta("key", "k"), DONE, DONE._replace(done=False))
    assert await copied(Rows(*rows), "move") == [Meta(CAME, "move"), Meta("key", "k"), DONE, DONE]


@pytest.mark.parametrize(
    ("row", "kind", "said"),
    [
        (GOOD._replace(key="other"), StoreError, "not on the ring"),
        (GOOD._replace(name="f"), IntegrityError, "does not open"),
        (GOOD._replace(sealed=GOOD.sealed[:-1]), IntegrityError, "does not open"),
    ],
)
@pytest.mark.parametrize("move", ["", "move"])
async def test_a_record_that_does_not_open_ends_it(row: Record, kind: type[Exception], said: str, move: str) -> None:
    source = Rows(GOOD, row, GOOD)
    with pytest.raises(kind, match=said):
        await copied(source, move)
    assert source.closed


def test_a_store_that_has_moved_says_where_to() -> None:
    assert "has moved to /home/me/my store:" in str(unavailable("3f2a /home/me/my store"))
