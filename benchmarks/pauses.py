"""How long a gateway's loop is held while a caller sends and receives 64 MiB through it, masked, keyed and not, or as
much as is kept for a repeat.

`python -m benchmarks.pauses` prints the milliseconds of the longest turn of each: of the loop's own processor time, so
that what else the machine does counts nothing.
"""

from __future__ import annotations

import asyncio
import http.client
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

from benchmarks.measure import ROOT, Row
from benchmarks.streams import streaming

PIECE = b"data: " + b"x" * 56 + b"\n\n"
CALLS: dict[str, tuple[int, dict[str, str]]] = {
    "64 MiB plain": (64, {}),
    "64 MiB keyed": (64, {"Idempotency-Key": "k"}),
    "15 MiB kept": (15, {"Idempotency-Key": "kept"}),
}
"""The large calls: their size either way in MiB, and what they say of themselves."""


def pause_rows(rounds: int) -> Iterator[Row]:
    """The longest turn of the loop."""
    command = [sys.executable, "-m", "benchmarks.pauses"]
    runs = [subprocess.run(command, capture_output=True, check=True, cwd=ROOT).stdout.split() for _ in range(rounds)]
    for number, call in enumerate(CALLS):
        longest = statistics.median(float(run[number]) for run in runs)
        yield Row(f"longest turn, {call}", "ms", {"ours": longest}, {}, 5.0)


class Watch:
    """Times each turn of the loops of this process."""

    def __init__(self) -> None:
        self.longest = 0.0
        self._run = asyncio.Handle._run
        asyncio.Handle._run = lambda handle: self._timed(handle)  # type: ignore[method-assign]

    def _timed(self, handle: asyncio.Handle) -> None:
        began = time.thread_time()
        self._run(handle)
        self.longest = max(self.longest, time.thread_time() - began)


def send(url: str, token: str, mib: int, fields: dict[str, str]) -> None:
    """Make the large call, and read its answer."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc)
    block = PIECE * ((1 << 20) // len(PIECE))
    headers = {"Authorization": f"Bearer {token}", "Content-Length": str(mib << 20), **fields}
    connection.request("POST", f"/api/proxy/stream/{mib}", (block for _ in range(mib)), headers)
    answer = connection.getresponse()
    assert answer.status == 200, answer.status
    while answer.read(1 << 20):
        pass
    connection.close()


def main() -> None:
    import oo.testing

    watch = Watch()
    with streaming() as upstream, oo.testing.gateway() as gateway:
        gateway.secret("key", "the-key-of-the-api")
        token = gateway.route("r", upstream.url, {"Authorization": "Bearer {key}"})
        for mib, fields in CALLS.values():
            watch.longest = 0.0
            sender = threading.Thread(target=send, args=(gateway.url, token, mib, fields))
            sender.start()
            sender.join()
            print(round(watch.longest * 1e3, 2))


if __name__ == "__main__":
    main()
