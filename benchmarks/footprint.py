"""What a gateway takes before it has done anything: its memory, that of who waits, and the time of its start. The floor
of a gateway is a bare protocol of asyncio, that of a client nginx, and that of a command a Python that does nothing."""

from __future__ import annotations

import resource
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from benchmarks.gateways import BARE, Served, bare_command, bare_proxy, ended, gateway
from benchmarks.measure import FLOOR, ROOT, Measured, Row, once, paired
from benchmarks.processes import MIB, keeping_bytecode, resident, spent
from benchmarks.tunnels import connected, held_by
from benchmarks.upstream import Running, free_port, plain, plain_command, relay, still_runs


def footprint_rows(upstream: str, rounds: int) -> Iterator[Row]:
    """Memory of an idle gateway, of an idle client and of one over TLS; milliseconds of a start and of a command."""
    from tests.support.certificates import self_signed

    with gateway(upstream) as served, bare_proxy(upstream) as bare, plain() as least, relay(upstream) as floor:
        for each in (served, bare, least):
            ask(connected(each.port))
        idle = {side: resident(each.pid) / MIB for side, each in (("ours", served), (BARE, bare), (FLOOR, least))}
        yield once("an idle gateway", "MiB", idle, 50.0)
        yield once("an idle client", "KiB", _held(served, floor, connected), 8.0)
    with tempfile.TemporaryDirectory() as directory:
        made = self_signed(Path(directory), "127.0.0.1")
        context = ssl.create_default_context(cafile=made.file)
        options = ("--tls-cert", made.both, "--tls-key", made.both)

        def shaken(port: int) -> ssl.SSLSocket:
            return context.wrap_socket(connected(port), server_hostname="127.0.0.1")

        with gateway(upstream, serve=options) as served, relay(upstream, made.both) as floor:
            yield once("an idle client over TLS", "KiB", _held(served, floor, shaken), 60.0)
    starts = {"ours": start_of_ours, BARE: partial(_start_of, partial(bare_command, upstream=upstream))}
    starts[FLOOR] = start_of_floor
    yield paired("start to the first answer", "ms", rounds, starts, 280.0)
    commands = {"ours": partial(_command, "-m", "oo.cli", "--help"), FLOOR: partial(_command, "-c", "")}
    yield paired("oo --help", "ms", rounds, commands, 60.0)


def _held(served: Served, floor: Running | None, connect: Callable[[int], socket.socket]) -> dict[str, float]:
    """KiB that either holds for a client that waits."""
    servers: dict[str, Served | Running] = {"ours": served, **({FLOOR: floor} if floor else {})}
    return {side: held_by(partial(connect, each.port), ask, each.pid) for side, each in servers.items()}


def ask(sock: socket.socket, path: str = "/health") -> None:
    """Ask for what says that a server is there."""
    sock.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    answer = sock.recv(4096)
    if not answer.startswith(b"HTTP/1.1 200"):
        raise ConnectionError("no answer")


def start_of_ours() -> Measured:
    with tempfile.TemporaryDirectory() as home:
        environment = {**keeping_bytecode(), "OO_HOME": home}
        command = [sys.executable, "-m", "oo.cli"]
        subprocess.run([*command, "init"], env=environment, check=True, capture_output=True, cwd=ROOT)
        port = free_port()
        return start([*command, "serve", "--port", str(port)], port, environment)


def start_of_floor() -> Measured:
    return _start_of(plain_command)


def _start_of(command: Callable[[int], Sequence[str]]) -> Measured:
    port = free_port()
    return start(command(port), port, keeping_bytecode())


def start(command: Sequence[str], port: int, environment: Mapping[str, str], path: str = "/health") -> Measured:
    """Milliseconds from a server's start to its first answer; TimeoutError where it has none within two minutes."""
    began = time.perf_counter()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT)
    try:
        while (took := time.perf_counter() - began) < 120:
            try:
                with connected(port) as sock:
                    ask(sock, path)
                return Measured((time.perf_counter() - began) * 1e3, spent(process.pid))
            except ConnectionError:
                still_runs(process)
                time.sleep(0.001)
        raise TimeoutError(f"no answer in {took:.0f} s")
    finally:
        ended(process)


def _command(*arguments: str) -> Measured:
    kept = keeping_bytecode()
    began, worked = time.perf_counter(), _of_children()
    subprocess.run([sys.executable, *arguments], env=kept, check=True, capture_output=True, cwd=ROOT)
    return Measured((time.perf_counter() - began) * 1e3, _of_children() - worked)


def _of_children() -> float:
    """Microseconds of the processor that the children took which have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (used.ru_utime + used.ru_stime) * 1e6
