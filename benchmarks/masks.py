"""Masking: how fast plain and escaped text is gone through, and what other callers of a gateway notice of it."""

from __future__ import annotations

import http.client
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial

from benchmarks.gateways import Served, gateway
from benchmarks.load import keyed, request
from benchmarks.measure import FLOOR, ROOT, Row, Side, paired
from benchmarks.streams import streaming
from benchmarks.upstream import relay

TEXTS = {
    "plain text": 200.0,
    "escapes of URLs": 50.0,
    "escapes of JSON": 50.0,
    "escapes of HTML": None,
    "by turns": None,
}
SECONDS = 2.0
"""How long the calls of another caller are timed."""


def mask_rows(ours: Side, rounds: int) -> Iterator[Row]:
    for text, target in TEXTS.items():
        speeds = {"ours": partial(ours, "mask_speed", text=text), FLOOR: partial(ours, "mask_floor", text=text)}
        yield paired(f"masking {text}", "MB/s", rounds, speeds, target, at_least=True)
    with streaming() as upstream, gateway(upstream.url) as served, relay(upstream.url) as floor:

        def asked(path: str, body: bytes = b"{}") -> bytes:
            return request("POST", f"/api/proxy/{path}", served.route, body)

        waits = {
            "escapes": partial(beside, served.port, served, asked("escapes/16")),
            "plain": partial(beside, served.port, served, asked("stream/16")),
            "quiet": partial(beside, served.port, served),
        }
        large = keyed(asked("stream/64", bytes(64 << 20)))
        late = {
            "ours": partial(beside, served.port, served, large, 0.99),
            "alone": partial(beside, served.port, served, b"", 0.99),
        }
        if floor:
            waits[FLOOR] = partial(beside, floor.port, served, asked("escapes/16"))
            late[FLOOR] = partial(beside, floor.port, served, large, 0.99)
        yield paired("a secret beside 16 MiB of", "ms", rounds, waits, 2.0, "quiet")
        yield paired("a secret beside 64 MiB either way, keyed, p99", "ms", rounds, late, 3.0, "alone")


def beside(port: int, served: Served, sent: bytes = b"", part: float = 0.5) -> float:
    """How many milliseconds such a part of a secret's calls take at most, while another caller sends a request without
    end, or nobody does."""
    command = [sys.executable, "-m", "benchmarks.load", str(port), "1" if sent else "0", "3"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, cwd=ROOT) as load:
        assert load.stdin is not None
        load.stdin.write(sent)
        load.stdin.close()
        time.sleep(0.5)
        connection, took = http.client.HTTPConnection("127.0.0.1", port), []
        until = time.perf_counter() + SECONDS
        while (began := time.perf_counter()) < until:
            connection.request("GET", "/api/secret", headers={"Authorization": f"Bearer {served.secret}"})
            connection.getresponse().read()
            took.append((time.perf_counter() - began) * 1e3)
        connection.close()
        load.terminate()
    return sorted(took)[int(len(took) * part)]
