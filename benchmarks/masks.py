"""Masking: how fast plain and escaped text is gone through, and what other callers of a gateway notice of it."""

from __future__ import annotations

import http.client
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial

from benchmarks.gateways import Served, gateway
from benchmarks.load import request
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
CALLS = 200
"""Calls of another caller that are timed."""


def mask_rows(ours: Side, rounds: int) -> Iterator[Row]:
    for text, target in TEXTS.items():
        speeds = {"ours": partial(ours, "mask_speed", text=text), FLOOR: partial(ours, "mask_floor", text=text)}
        yield paired(f"masking {text}", "MB/s", rounds, speeds, target, at_least=True)
    with streaming() as upstream, gateway(upstream.url) as served, relay(upstream.url) as floor:
        waits = {
            "escapes": partial(beside, served.port, served, "/api/proxy/escapes/16"),
            "plain": partial(beside, served.port, served, "/api/proxy/stream/16"),
            "quiet": partial(beside, served.port, served, None),
        }
        if floor:
            waits[FLOOR] = partial(beside, floor.port, served, "/api/proxy/escapes/16")
        yield paired("a secret beside 16 MiB of", "ms", rounds, waits, 2.0, "quiet")


def beside(port: int, served: Served, path: str | None) -> float:
    """The median milliseconds of a secret's call while another caller asks for `path` again and again."""
    command = [sys.executable, "-m", "benchmarks.load", str(port), "1" if path else "0", "3"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, cwd=ROOT) as load:
        assert load.stdin is not None
        load.stdin.write(request("POST", path or "", served.route, b"{}"))
        load.stdin.close()
        time.sleep(0.5)
        connection, took = http.client.HTTPConnection("127.0.0.1", port), []
        for _ in range(CALLS):
            began = time.perf_counter()
            connection.request("GET", "/api/secret", headers={"Authorization": f"Bearer {served.secret}"})
            connection.getresponse().read()
            took.append((time.perf_counter() - began) * 1e3)
        connection.close()
        load.terminate()
    return statistics.median(took)
