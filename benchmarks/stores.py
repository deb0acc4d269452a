"""The stores' rows: uses and claims a second, by one process and more, and how long a move takes."""

from __future__ import annotations

import asyncio
import base64
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import store_floors
from benchmarks.measure import FLOOR, ROOT, Measured, Row, late_row, paired
from benchmarks.timing import clock
from oo.gateway.models import Route
from oo.gateway.moving import migrate
from oo.gateway.open_store import open_store
from oo.gateway.sealing import Keyring, new_key
from oo.gateway.vault import Vault

SECONDS = 2.0
KEY = new_key()
USES = 10**9
DISK = Path(tempfile.gettempdir())
PROCESSES = (1, 2, 4)
ALONE = "one by one"
MOVED = {600: None, 6_000: 1.0, 60_000: None}
"""Rows of a store that is moved, at least, and the seconds that it may take."""

ASKED = {  # a second, against SQLite where each change is committed alone
    "uses": {"sqlite": 2.4, "postgres": 2.0, "standby": 1.5},
    "claims": {"sqlite": 2.4, "postgres": 0.8, "standby": 0.6},
}
LATE = 25.0
"""Milliseconds of the 99th percentile of uses in SQLite by four processes, at most."""


class Place(NamedTuple):
    """A store that is asked, and the token of a route in it."""

    where: str
    token: str
    option: str = ""


class Asking:
    """So many processes that ask a store at once: how often a second they are answered."""

    def __init__(self, place: Place, what: str, count: int) -> None:
        command = ("-m", "benchmarks.store_load", place.where, place.token, what, str(SECONDS), place.option)
        self._command = [sys.executable, *command]
        self._count = count
        self.late: list[float] = []

    def __call__(self) -> Measured:
        asking = [subprocess.Popen(self._command, stdout=subprocess.PIPE, cwd=ROOT) for _ in range(self._count)]
        said = [[float(word) for word in process.communicate()[0].split()] for process in asking]
        self.late.append(max(late for _, late, _ in said))
        return Measured(sum(rate for rate, *_ in said), statistics.mean(own for *_, own in said))


def store_rows(rounds: int) -> Iterator[Row]:
    """Each store on the same disk, against SQLite where each change is committed alone."""
    with keyed(), places() as found:
        alone = found.pop(ALONE)
        for what, asked in ASKED.items():
            for (store, place), count in product(found.items(), PROCESSES):
                name = f"{what} on {store}, {count} processes"
                floor = place._replace(option="floor")
                sides = {
                    side: Asking(of, what, count) for side, of in (("ours", place), (ALONE, alone), (FLOOR, floor))
                }
                yield paired(name, "/s", rounds, sides, asked[store], ALONE, at_least=True)
                yield late_row(name, sides, LATE if (what, store, count) == ("uses", "sqlite", 4) else None)


def move_rows(rounds: int) -> Iterator[Row]:
    """How long nobody is answered while a vault moves to PostgreSQL, from its first step to its last."""
    from tests.support.postgres import running

    with keyed(), running(DISK) as engine:
        for rows, target in MOVED.items():
            with tempfile.TemporaryDirectory() as filled:
                Vault.create(Path(filled), Keyring([KEY]))
                asyncio.run(_many(filled, rows))
                moves = {"ours": migrate, FLOOR: store_floors.move}
                sides = {side: partial(_moved, filled, engine, move, rows) for side, move in moves.items()}
                yield paired(f"a move of {rows:,} rows", "s", rounds, sides, target)


def _moved(filled: str, engine: str, move: Callable[[str, str], Coroutine[Any, Any, int]], rows: int) -> Measured:
    """The seconds of a move of a copy to an empty database."""
    from tests.support.postgres import database

    with tempfile.TemporaryDirectory() as directory, database(engine) as url:
        home = shutil.copytree(filled, Path(directory) / "home")
        elapsed = clock()
        moved = asyncio.run(move(str(home), url))
        seconds, worked = elapsed()
        assert moved >= rows, moved
        return Measured(seconds, worked * 1e6)


@contextmanager
def keyed() -> Iterator[None]:
    """The environment of a master key, and of a store whose disk is trusted."""
    os.environ["OO_MASTER_KEY"] = base64.b64encode(KEY).decode()
    os.environ["OO_STORE_REPLICATED"] = "1"
    try:
        yield
    finally:
        del os.environ["OO_MASTER_KEY"], os.environ["OO_STORE_REPLICATED"]


@contextmanager
def places() -> Iterator[dict[str, Place]]:
    """Each store, with a token in it."""
    from oo.gateway.postgres import create
    from tests.support.postgres import database, installed, running
    from tests.support.standby import Pair

    with ExitStack() as stack:
        homes = [stack.enter_context(tempfile.TemporaryDirectory()) for _ in range(2)]
        single = stack.enter_context(database(stack.enter_context(running(DISK))))
        pair = Pair(stack.enter_context(installed(DISK)), "pair")
        stack.callback(pair.stop)
        pair.start()
        for home in homes:
            Vault.create(Path(home), Keyring([KEY]))
        for url in (single, pair.place):
            asyncio.run(create(url, Keyring([KEY])))
        named = {"sqlite": homes[0], "postgres": single, "standby": pair.place, ALONE: homes[1]}
        yield {
            side: Place(place, asyncio.run(_filled(place)), "alone" if side == ALONE else "")
            for side, place in named.items()
        }


async def _filled(place: str) -> str:
    await store_floors.make(place)
    async with open_store(place) as store:
        await store.put_route(Route("r", "http://127.0.0.1:9"))
        return await store.issue("route", "r", uses=USES)


async def _many(place: str, rows: int) -> None:
    """Two rows for each secret, and two for each token."""
    async with open_store(place) as store:
        await asyncio.gather(*(store.put_secret(f"s{number}", "x" * 100) for number in range(rows // 3)))
        await asyncio.gather(*(store.issue("secret", f"s{number}") for number in range(rows // 6)))
