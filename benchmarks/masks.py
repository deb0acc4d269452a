"""Masking: how fast plain and escaped text is gone through, and what other callers of a gateway notice of it."""

from __future__ import annotations

import http.client
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

from benchmarks.gateways import Served, gateway
from benchmarks.load import request
from benchmarks.measure import ROOT, Row, Side
from benchmarks.streams import streaming

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
        speed = statistics.median(ours("mask_speed", text=text).value for _ in range(rounds))
        yield Row(f"masking {text}", "MB/s", {"ours": speed}, {}, target, at_least=True)
    with streaming() as upstream, gateway(upstream) as served:
        waits: dict[str, list[float]] = {"escapes": [], "plain": [], "quiet": []}
        for _ in range(rounds):
            waits["escapes"].append(beside(served, "/api/proxy/escapes/16"))
            waits["plain"].append(beside(served, "/api/proxy/stream/16"))
            waits["quiet"].append(beside(served, None))
        ratios = {
            side: [a / b for a, b in zip(waits["escapes"], waits[side], strict=True)] for side in ("plain", "quiet")
        }
        medians = {side: statistics.median(measured) for side, measured in waits.items()}
        yield Row("a secret beside 16 MiB of", "ms", medians, ratios, 2.0, "quiet")


def beside(served: Served, path: str | None) -> float:
    """The median milliseconds of a secret's call while another caller asks for `path` again and again."""
    command = [sys.executable, "-m", "benchmarks.load", str(served.port), "1" if path else "0", "3"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, cwd=ROOT) as load:
        assert load.stdin is not None
        load.stdin.write(request("POST", path or "", served.route, b"{}"))
        load.stdin.close()
        time.sleep(0.5)
        connection, took = http.client.HTTPConnection("127.0.0.1", served.port), []
        for _ in range(CALLS):
            began = time.perf_counter()
            connection.request("GET", "/api/secret", headers={"Authorization": f"Bearer {served.secret}"})
            connection.getresponse().read()
            took.append((time.perf_counter() - began) * 1e3)
        connection.close()
        load.terminate()
    return statistics.median(took)
