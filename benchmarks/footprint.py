"""What a gateway takes before it has done anything: its memory, that of who waits, and the time of its start."""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from benchmarks.gateways import ended, gateway
from benchmarks.measure import ROOT, Row, paired
from benchmarks.processes import MIB, keeping_bytecode, resident
from benchmarks.tunnels import connected, held_by
from benchmarks.upstream import free_port, still_runs


def footprint_rows(upstream: str, rounds: int) -> Iterator[Row]:
    """Memory of an idle gateway, of an idle client and of one over TLS; milliseconds of a start and of a command."""
    from tests.support.certificates import self_signed

    with gateway(upstream) as served:
        ask(connected(served.port))
        yield Row("an idle gateway", "MiB", {"ours": resident(served.pid) / MIB}, {}, 50.0)
        held = held_by(lambda: connected(served.port), ask, served.pid)
        yield Row("an idle client", "KiB", {"ours": held}, {}, 8.0)
    with tempfile.TemporaryDirectory() as directory:
        made = self_signed(Path(directory), "127.0.0.1")
        context = ssl.create_default_context(cafile=made.file)
        options = ("--tls-cert", made.both, "--tls-key", made.both)
        with gateway(upstream, serve=options) as served:
            shaken = partial(context.wrap_socket, server_hostname="127.0.0.1")
            held = held_by(lambda: shaken(connected(served.port)), ask, served.pid)
        yield Row("an idle client over TLS", "KiB", {"ours": held}, {}, 60.0)
    yield paired("start to the first answer", "ms", rounds, {"ours": start_of_ours}, 280.0)
    yield paired("oo --help", "ms", rounds, {"ours": _help}, 60.0)


def ask(sock: socket.socket, path: str = "/health") -> None:
    """Ask for what says that a server is there."""
    sock.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    answer = sock.recv(4096)
    if not answer.startswith(b"HTTP/1.1 200"):
        raise ConnectionError("no answer")


def start_of_ours() -> float:
    with tempfile.TemporaryDirectory() as home:
        environment = {**keeping_bytecode(), "OO_HOME": home}
        command = [sys.executable, "-m", "oo.cli"]
        subprocess.run([*command, "init"], env=environment, check=True, capture_output=True, cwd=ROOT)
        port = free_port()
        return start([*command, "serve", "--port", str(port)], port, environment)


def start(command: Sequence[str], port: int, environment: Mapping[str, str], path: str = "/health") -> float:
    """Milliseconds from a server's start to its first answer; TimeoutError where it has none within two minutes."""
    began = time.perf_counter()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT)
    try:
        while (took := time.perf_counter() - began) < 120:
            try:
                with connected(port) as sock:
                    ask(sock, path)
                return (time.perf_counter() - began) * 1e3
            except ConnectionError:
                still_runs(process)
                time.sleep(0.001)
        raise TimeoutError(f"no answer in {took:.0f} s")
    finally:
        ended(process)


def _help() -> float:
    command, kept = [sys.executable, "-m", "oo.cli", "--help"], keeping_bytecode()
    began = time.perf_counter()
    subprocess.run(command, env=kept, check=True, capture_output=True, cwd=ROOT)
    return (time.perf_counter() - began) * 1e3
