"""What counting costs over HTTP, on either store: a counted secret against another, a keyed chat against another."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial

from benchmarks.gateways import Load, Served, at_floor, chat, gateway
from benchmarks.load import keyed, request
from benchmarks.measure import FLOOR, Row, late_row, once, paired
from benchmarks.stores import DISK
from benchmarks.upstream import Running, relay


def counted_rows(upstream: str, rounds: int) -> Iterator[Row]:
    """On SQLite, then on PostgreSQL, with one gateway."""
    from tests.support.postgres import database, running

    with ExitStack() as stack:
        os.environ["OO_STORE_REPLICATED"] = "1"
        stack.callback(os.environ.pop, "OO_STORE_REPLICATED")
        floor = stack.enter_context(relay(upstream))
        empty = stack.enter_context(database(stack.enter_context(running(DISK))))
        for engine, store in (("sqlite", None), ("postgres", empty)):
            with gateway(upstream, store) as served:
                yield from _rows(engine, served, floor, rounds)


def _rows(engine: str, served: Served, floor: Running | None, rounds: int) -> Iterator[Row]:
    calling = partial(Load, served.port, served.pid)
    secrets = {
        "counted": calling(request("GET", "/api/secret", served.counted)),
        "uncounted": calling(request("GET", "/api/secret", served.secret)),
        **at_floor(floor, request("GET", "/api/secret", served.secret)),
    }
    row = paired(f"a secret on {engine}, counted", "/s", rounds, secrets, 0.6, "uncounted", at_least=True)
    yield row
    yield late_row(f"a secret on {engine}", secrets)
    if engine == "postgres":
        name, plain = "a secret on postgres, uncounted", {"ours": "uncounted", **({FLOOR: FLOOR} if floor else {})}
        rates, cpu = ({side: of[each] for side, each in plain.items()} for of in (row.sides, row.cpu))
        yield once(name, "/s", rates, 5000.0, cpu, at_least=True)
        yield late_row(name, {side: secrets[each] for side, each in plain.items()}, 10.0)
    plainly = chat(served.route)
    chats = {"keyed": calling(keyed(plainly)), "without": calling(plainly), **at_floor(floor, plainly)}
    yield paired(f"a chat on {engine}, keyed", "/s", rounds, chats, 0.5, "without", at_least=True)
    yield late_row(f"a chat on {engine}", chats)
