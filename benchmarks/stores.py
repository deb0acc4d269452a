"""The stores' rows: uses and claims a second, by one process and more, and what counting costs over HTTP."""

from __future__ import annotations

import asyncio
import base64
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

from benchmarks.gateways import gateway, loaded
from benchmarks.load import request
from benchmarks.measure import ROOT, Row, paired
from oo.gateway.models import Route
from oo.gateway.open_store import open_store
from oo.gateway.sealing import Keyring, new_key
from oo.gateway.vault import Vault

SECONDS = 2.0
KEY = new_key()
USES = 10**9


def store_rows(upstream: str, rounds: int) -> Iterator[Row]:
    """PostgreSQL against SQLite, both on the same disk; then counted against uncounted calls on PostgreSQL."""
    from oo.gateway.postgres import create
    from tests.support.postgres import database, running

    os.environ["OO_MASTER_KEY"] = base64.b64encode(KEY).decode()
    os.environ["OO_STORE_REPLICATED"] = "1"
    with ExitStack() as stack:
        home = stack.enter_context(tempfile.TemporaryDirectory())
        engine = stack.enter_context(running(Path(tempfile.gettempdir())))
        url, empty = (stack.enter_context(database(engine)) for _ in range(2))
        Vault.create(Path(home), Keyring([KEY]))
        asyncio.run(create(url, Keyring([KEY])))
        tokens = {place: asyncio.run(_filled(place)) for place in (url, home)}
        for what in ("uses", "claims"):
            for count in (1, 2, 4):
                late: dict[str, float] = {}
                sides = {
                    name: _asking(place, tokens[place], what, count, name, late)
                    for name, place in (("postgres", url), ("sqlite", home))
                }
                yield paired(f"{what}, {count} processes", "/s", rounds, sides, None, "sqlite", at_least=True)
                yield Row(f"{what}, {count} processes, p99", "ms", late)
        yield from _over_http(upstream, empty, rounds)


def _over_http(upstream: str, empty: str, rounds: int) -> Iterator[Row]:
    with gateway(upstream, empty) as served:
        secret = request("GET", "/api/secret", served.secret)
        sides = {
            "counted": loaded(served.port, request("GET", "/api/secret", served.counted), SECONDS),
            "uncounted": loaded(served.port, secret, SECONDS),
        }
        yield paired("a secret on postgres, counted", "/s", rounds, sides, 0.6, "uncounted", at_least=True)


async def _filled(place: str) -> str:
    async with open_store(place) as store:
        await store.put_route(Route("r", "http://127.0.0.1:9"))
        return await store.issue("route", "r", uses=USES)


def _asking(place: str, token: str, what: str, count: int, name: str, late: dict[str, float]) -> Callable[[], float]:
    command = [sys.executable, "-m", "benchmarks.store_load", place, token, what, str(SECONDS)]

    def measure() -> float:
        asking = [subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) for _ in range(count)]
        said = [process.communicate()[0].split() for process in asking]
        late[name] = max(float(p99) for _, p99 in said)
        return sum(float(rate) for rate, _ in said)

    return measure
