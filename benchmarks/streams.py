"""Streams through the gateway: the time to the first byte, and the memory that a large one costs."""

from __future__ import annotations

import asyncio
import multiprocessing
import re
import socket
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from benchmarks.gateways import gateway
from benchmarks.load import request
from benchmarks.measure import Row, Side
from benchmarks.upstream import free_port, wait_for

MIB = 1 << 20
EVENT = b"data: " + b"x" * 56 + b"\n\n"
ESCAPES = b"%41" * (1 << 14)
PAIRS = 300
"""First bytes that are timed on each side."""


async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer POST .../stream/MEBIBYTES with that much, and 0 with one event; .../escapes/MEBIBYTES with escapes."""
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            if length := re.search(rb"(?i)content-length: (\d+)", head):
                await reader.readexactly(int(length[1]))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
            size = int(head.split(b" ", 2)[1].rpartition(b"/")[2])
            piece = ESCAPES if b"/escapes/" in head else EVENT * (1024 if size else 1)
            for _ in range(size * MIB // len(piece) or 1):
                writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                await writer.drain()
            writer.write(b"0\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


def serve(port: int) -> None:
    async def forever() -> None:
        server = await asyncio.start_server(handle, "127.0.0.1", port)
        await server.serve_forever()

    asyncio.run(forever())


@contextmanager
def streaming() -> Iterator[str]:
    """The base URL of an upstream that streams."""
    port = free_port()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(port,), daemon=True)
    process.start()
    try:
        wait_for(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.join()


class Caller:
    """One kept-alive connection that times first bytes."""

    def __init__(self, port: int, sent: bytes) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sent = sent

    def first_byte(self) -> float:
        """Seconds from the request to the first byte of the body."""
        began = time.perf_counter()
        self._socket.sendall(self._sent)
        got = b""
        while b"data: " not in got:
            got += self._received()
        seconds = time.perf_counter() - began
        while not got.endswith(b"\r\n0\r\n\r\n"):
            got += self._received()
        return seconds

    def _received(self) -> bytes:
        data = self._socket.recv(65536)
        if not data:
            raise ConnectionError("the connection was closed")
        return data

    def close(self) -> None:
        self._socket.close()


def stream_rows(mebibytes: int = 1024) -> Iterator[Row]:
    """The wait for a first byte that the gateway adds, and peak growth of gateway and client over one large stream."""
    with streaming() as upstream, gateway(upstream) as served:
        near = Caller(urlsplit(upstream).port or 80, request("POST", "/stream/0", "none", b"{}"))
        far = Caller(served.port, request("POST", "/api/proxy/stream/0", served.route, b"{}"))
        pairs = [(far.first_byte(), near.first_byte()) for _ in range(PAIRS)]
        near.close()
        far.close()
        through, direct = (statistics.median(side) * 1e3 for side in zip(*pairs, strict=True))
        sides = {"added by the gateway": through - direct, "through": through, "upstream": direct}
        yield Row("first byte of a stream", "ms", sides, {}, 2.0)
        with Side(sys.executable, f"http://127.0.0.1:{served.port}") as client:
            for kind in ("sync", "async"):
                client("stream_growth", token=served.route, kind=kind, mebibytes=1)  # warm
                before = resident(served.pid, "VmRSS")
                # 5 forgets the peak so far (proc(5)).
                with open(f"/proc/{served.pid}/clear_refs", "w", encoding="ascii") as file:
                    file.write("5")
                grown = client("stream_growth", token=served.route, kind=kind, mebibytes=mebibytes)
                yield Row(f"{mebibytes:,} MiB streamed, client ({kind})", "MiB", {"ours": grown / MIB}, {}, 16.0)
                grown = resident(served.pid, "VmHWM") - before
                yield Row(f"{mebibytes:,} MiB streamed, gateway ({kind})", "MiB", {"ours": grown / MIB}, {}, 16.0)


def resident(pid: int, field: str) -> int:
    """Bytes of memory that a process holds (VmRSS), or has held at most (VmHWM)."""
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return int(re.search(rf"{field}:\s+(\d+) kB", file.read())[1]) * 1024  # type: ignore[index]  # proc(5) has both
