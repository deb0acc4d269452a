"""What other callers wait for at worst, while one sends and receives 64 MiB through a gateway that keys and masks it."""

from __future__ import annotations

import http.client
import statistics
import threading
import time
from collections.abc import Iterator

from benchmarks.gateways import Served, gateway
from benchmarks.measure import Row
from benchmarks.streams import streaming

MIB = 64
PIECE = b"data: " + b"x" * 56 + b"\n\n"
KINDS = {"plain": {}, "keyed": {"Idempotency-Key": "k"}}
"""What the large call says of itself."""


def pause_rows(rounds: int) -> Iterator[Row]:
    """The longest of the others' calls, against the longest of as many in a quiet gateway."""
    with streaming() as upstream, gateway(upstream) as served:
        quiet = [worst(served, None, str(number)) for number in range(rounds)]
        for kind, fields in KINDS.items():
            busy = [worst(served, fields, f"{kind}-{number}") for number in range(rounds)]
            sides = {"ours": statistics.median(busy), "quiet": statistics.median(quiet)}
            above = [max(0.0, a - b) for a, b in zip(busy, quiet, strict=True)]
            yield Row(f"longest wait beside {MIB} MiB, {kind}", "ms", sides, {}, None)
            yield Row(f"pause beside {MIB} MiB, {kind}", "ms", {"ours": statistics.median(above)}, {}, 5.0)


def worst(served: Served, fields: dict[str, str] | None, key: str) -> float:
    """The milliseconds of the slowest call for a secret, made one after the other until the large call has ended (for
    two seconds where there is none)."""
    over = threading.Event()
    large = threading.Thread(target=_send, args=(served, fields, key, over))
    large.start()
    connection, longest = http.client.HTTPConnection("127.0.0.1", served.port), 0.0
    while not over.is_set():
        began = time.perf_counter()
        connection.request("GET", "/api/secret", headers={"Authorization": f"Bearer {served.secret}"})
        connection.getresponse().read()
        longest = max(longest, time.perf_counter() - began)
        time.sleep(0.001)
    connection.close()
    large.join()
    return longest * 1e3


def _send(served: Served, fields: dict[str, str] | None, key: str, over: threading.Event) -> None:
    try:
        if fields is None:
            time.sleep(2)
            return
        headers = {"Authorization": f"Bearer {served.route}", "Content-Length": str(MIB << 20)}
        headers.update({name: value + key for name, value in fields.items()})
        connection = http.client.HTTPConnection("127.0.0.1", served.port)
        block = PIECE * ((1 << 20) // len(PIECE))
        connection.request("POST", f"/api/proxy/stream/{MIB}", (block for _ in range(MIB)), headers)
        answer = connection.getresponse()
        if answer.status != 200:
            raise RuntimeError(f"the large call was answered with {answer.status}")
        while answer.read(1 << 20):
            pass
        connection.close()
    finally:
        over.set()
