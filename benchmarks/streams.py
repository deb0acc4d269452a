"""Streams through the gateway: the time to the first byte, tokens a second, whole answers by their size, and the memory
that a large one costs."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import re
import socket
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

from benchmarks.gateways import Load, Served, at_floor, gateway
from benchmarks.load import request
from benchmarks.measure import FLOOR, Measured, Row, Side, paired
from benchmarks.processes import MIB, forget_peak, resident, spent
from benchmarks.upstream import Running, free_port, relay, wait_for

EVENT = b"data: " + b"x" * 56 + b"\n\n"
ESCAPES = b"%41" * (1 << 14)
TOKENS = 200
_CHUNK = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o-mini"}
_DELTA = {**_CHUNK, "choices": [{"index": 0, "delta": {"content": "Hello"}, "finish_reason": None}]}
TOKEN = b"data: " + json.dumps(_DELTA).encode() + b"\n\n"
"""An event of a model's answer."""
PAIRS = 300
"""First bytes that are timed on each side."""
SIZES = {"1 KiB": (1 << 10, 200), "32 KiB": (1 << 15, 200), "1 MiB": (MIB, 20), "64 MiB": (64 * MIB, 1)}
"""Sizes of an answer, and how often each is asked for."""


async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer POST .../stream/MEBIBYTES with that much, and 0 with one event; .../bytes/N; .../escapes/MEBIBYTES with
    escapes; .../chat/completions with TOKENS events of a model's answer, each a write of its own."""
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            if length := re.search(rb"(?i)content-length: (\d+)", head):
                await reader.readexactly(int(length[1]))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
            for piece in pieces(*head.split(b" ", 2)[1].rsplit(b"/", 2)[1:]):
                writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                await writer.drain()
            writer.write(b"0\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


def pieces(kind: bytes, size: bytes) -> Iterator[bytes]:
    """What is asked for, in the chunks in which it is sent."""
    if size == b"completions":
        yield from [TOKEN] * TOKENS
        yield b"data: [DONE]\n\n"
        return
    total = int(size) * (1 if kind == b"bytes" else MIB)
    piece = ESCAPES if kind == b"escapes" else EVENT * (min(total, 1 << 16) // len(EVENT) or 1)
    for _ in range(total // len(piece) or 1):
        yield piece


def serve(port: int) -> None:
    async def forever() -> None:
        server = await asyncio.start_server(handle, "127.0.0.1", port)
        await server.serve_forever()

    asyncio.run(forever())


@contextmanager
def streaming() -> Iterator[Running]:
    """An upstream that streams."""
    port = free_port()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(port,), daemon=True)
    process.start()
    try:
        wait_for(port)
        assert process.pid is not None
        yield Running(port, process.pid)
    finally:
        process.kill()
        process.join()


class Caller:
    """One kept-alive connection that times first bytes, to a process whose time is of them alone, if one is named."""

    def __init__(self, port: int, sent: bytes, pid: int | None = None) -> None:
        self.pid = pid
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sent = sent

    def first_byte(self) -> float:
        """Milliseconds from the request to the first byte of the body."""
        began = time.perf_counter()
        self._socket.sendall(self._sent)
        got = b""
        while b"data: " not in got:
            got += self._received()
        seconds = time.perf_counter() - began
        while not got.endswith(b"\r\n0\r\n\r\n"):
            got += self._received()
        return seconds * 1e3

    def _received(self) -> bytes:
        data = self._socket.recv(65536)
        if not data:
            raise ConnectionError("the connection was closed")
        return data

    def close(self) -> None:
        self._socket.close()


def first_bytes(callers: dict[str, Caller], times: int = PAIRS) -> tuple[dict[str, float], dict[str, float]]:
    """The median milliseconds of each, by turns, and the microseconds of the processor that each stream took."""
    pids = {side: caller.pid for side, caller in callers.items() if caller.pid is not None}
    before = {side: spent(pid) for side, pid in pids.items()}
    taken = [[caller.first_byte() for caller in callers.values()] for _ in range(times)]
    late = {side: statistics.median(took) for side, took in zip(callers, zip(*taken, strict=True), strict=True)}
    return late, {side: (spent(pid) - before[side]) / times for side, pid in pids.items()}


def stream_rows(rounds: int, mebibytes: int = 1024) -> Iterator[Row]:
    """The wait for a first byte that the gateway adds, tokens a second, answers of each size, and peak growth of
    gateway and client over one large stream."""
    with ExitStack() as stack:
        upstream = stack.enter_context(streaming())
        served = stack.enter_context(gateway(upstream.url))
        floor = stack.enter_context(relay(upstream.url))
        direct = stack.enter_context(Side(sys.executable, upstream.url))
        client = stack.enter_context(Side(sys.executable, f"http://127.0.0.1:{served.port}"))
        readers = {"ours": (served.pid, client)}
        if floor:
            readers[FLOOR] = floor.pid, stack.enter_context(Side(sys.executable, floor.url))
        yield _first_byte(upstream, served, floor)
        yield from _tokens(served, floor, direct, rounds)
        for size in SIZES:
            yield from _answers(size, readers, served.route, direct, rounds)
        yield from _growth(served, client, mebibytes)


def _first_byte(upstream: Running, served: Served, floor: Running | None) -> Row:
    sent = request("POST", "/api/proxy/stream/0", served.route, b"{}")
    callers = {"through": Caller(served.port, sent, served.pid), "upstream": Caller(upstream.port, sent)}
    if floor:
        callers[FLOOR] = Caller(floor.port, sent, floor.pid)
    took, worked = first_bytes(callers)
    for caller in callers.values():
        caller.close()
    added = "added by the gateway"
    sides = {added: took["through"] - took["upstream"], **took}
    ratios = {FLOOR: [took["through"] / took[FLOOR]]} if floor else {}
    return Row("first byte of a stream", "ms", sides, ratios, 2.0, cpu={added: worked.pop("through"), **worked})


def _tokens(served: Served, floor: Running | None, direct: Side, rounds: int) -> Iterator[Row]:
    path = "v1/chat/completions"
    sent = request("POST", f"/api/proxy/{path}", served.route, b"{}")
    sides = {"ours": Load(served.port, served.pid, sent, each=TOKENS)}
    yield paired("streamed tokens, gateway", "/s", rounds, sides | at_floor(floor, sent, each=TOKENS))
    reading = {
        "ours": partial(direct, "tokens", count=64, tasks=16, path=path, token="none"),
        FLOOR: partial(direct, "tokens_floor", count=64, tasks=16, path=path, token="none", each=TOKENS),
    }
    yield paired("streamed tokens, client", "/s", rounds, reading)


def _answers(size: str, readers: dict[str, tuple[int, Side]], token: str, direct: Side, rounds: int) -> Iterator[Row]:
    """A bare socket that reads through the gateway, and through nginx; then a client that reads from the upstream."""
    number, count = SIZES[size]
    path = f"bytes/{number}"

    def through(pid: int, reading: Side) -> Measured:
        before = spent(pid)
        took = reading("answer_floor", count=count, path=f"/api/proxy/{path}", token=token)
        return Measured(took.value, (spent(pid) - before) / count)

    sides = {side: partial(through, *reader) for side, reader in readers.items()}
    yield paired(f"answer of {size}, gateway", "us", rounds, sides)
    sides = {
        "ours": partial(direct, "answer", count=count, path=path, token="none", kind="sync"),
        "ours, async": partial(direct, "answer", count=count, path=path, token="none", kind="async"),
        FLOOR: partial(direct, "answer_floor", count=count, path=f"/api/proxy/{path}", token="none"),
    }
    yield paired(f"answer of {size}, client", "us", rounds, sides)


def _growth(served: Served, client: Side, mebibytes: int) -> Iterator[Row]:
    for kind in ("sync", "async"):
        client("stream_growth", token=served.route, kind=kind, mebibytes=1)  # warm
        before = resident(served.pid)
        forget_peak(served.pid)
        grown = client("stream_growth", token=served.route, kind=kind, mebibytes=mebibytes).value
        yield Row(f"{mebibytes:,} MiB streamed, client ({kind})", "MiB", {"ours": grown / MIB}, {}, 16.0)
        grown = resident(served.pid, "VmHWM") - before
        yield Row(f"{mebibytes:,} MiB streamed, gateway ({kind})", "MiB", {"ours": grown / MIB}, {}, 16.0)
