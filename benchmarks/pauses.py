"""How long a gateway's loop is held while a caller sends and receives 64 MiB through it, keyed and masked.

`python -m benchmarks.pauses` prints the milliseconds of the longest turn, plain and keyed: of the loop's own processor
time, so that what else the machine does counts nothing.
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

MIB = 64
PIECE = b"data: " + b"x" * 56 + b"\n\n"
KINDS: dict[str, dict[str, str]] = {"plain": {}, "keyed": {"Idempotency-Key": "k"}}
"""What the large call says of itself."""


def pause_rows(rounds: int) -> Iterator[Row]:
    """The longest turn of the loop."""
    command = [sys.executable, "-m", "benchmarks.pauses"]
    runs = [subprocess.run(command, capture_output=True, check=True, cwd=ROOT).stdout.split() for _ in range(rounds)]
    for number, kind in enumerate(KINDS):
        longest = statistics.median(float(run[number]) for run in runs)
        yield Row(f"longest turn, {MIB} MiB {kind}", "ms", {"ours": longest}, {}, 5.0)


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


def send(url: str, token: str, fields: dict[str, str]) -> None:
    """Make the large call, and read its answer."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc)
    block = PIECE * ((1 << 20) // len(PIECE))
    headers = {"Authorization": f"Bearer {token}", "Content-Length": str(MIB << 20), **fields}
    connection.request("POST", f"/api/proxy/stream/{MIB}", (block for _ in range(MIB)), headers)
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
        token = gateway.route("r", upstream, {"Authorization": "Bearer {key}"})
        for fields in KINDS.values():
            watch.longest = 0.0
            sender = threading.Thread(target=send, args=(gateway.url, token, fields))
            sender.start()
            sender.join()
            print(round(watch.longest * 1e3, 2))


if __name__ == "__main__":
    main()
