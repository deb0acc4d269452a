"""What a gateway takes before it has done anything: its memory, that of who waits, and the time of its start."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks.gateways import gateway
from benchmarks.measure import ROOT, Row, paired
from benchmarks.streams import MIB, resident
from benchmarks.tunnels import connected, held_by
from benchmarks.upstream import free_port

_HEALTH = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


def footprint_rows(upstream: str, rounds: int) -> Iterator[Row]:
    """Memory of an idle gateway, of an idle client and of one over TLS; milliseconds of a start and of a command."""
    from tests.support.certificates import self_signed

    with gateway(upstream) as served:
        _ask(connected(served.port))
        yield Row("an idle gateway", "MiB", {"ours": resident(served.pid, "VmRSS") / MIB}, {}, 50.0)
        held = held_by(lambda: connected(served.port), _ask, served.pid)
        yield Row("an idle client", "KiB", {"ours": held}, {}, 8.0)
    with tempfile.TemporaryDirectory() as directory:
        made = self_signed(Path(directory), "127.0.0.1")
        context = ssl.create_default_context(cafile=made.file)
        options = ("--tls-cert", made.both, "--tls-key", made.both)
        with gateway(upstream, serve=options) as served:
            shaken = partial(context.wrap_socket, server_hostname="127.0.0.1")
            held = held_by(lambda: shaken(connected(served.port)), _ask, served.pid)
        yield Row("an idle client over TLS", "KiB", {"ours": held}, {}, 60.0)
    yield paired("start to the first answer", "ms", rounds, {"ours": _start}, 280.0)
    yield paired("oo --help", "ms", rounds, {"ours": _help}, 60.0)


def _ask(sock: socket.socket) -> None:
    sock.sendall(_HEALTH)
    answer = sock.recv(4096)
    if not answer.startswith(b"HTTP/1.1 200"):
        raise ConnectionError("no answer")


def _start() -> float:
    with tempfile.TemporaryDirectory() as home:
        environment = {**os.environ, "OO_HOME": home}
        command = [sys.executable, "-m", "oo.cli"]
        subprocess.run([*command, "init"], env=environment, check=True, capture_output=True, cwd=ROOT)
        port = free_port()
        began = time.perf_counter()
        process = subprocess.Popen(
            [*command, "serve", "--port", str(port)], env=environment, stderr=subprocess.DEVNULL, cwd=ROOT
        )
        try:
            while True:
                try:
                    with connected(port) as sock:
                        _ask(sock)
                    return (time.perf_counter() - began) * 1e3
                except ConnectionError:
                    time.sleep(0.001)
        finally:
            process.terminate()
            process.wait(15)


def _help() -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "oo.cli", "--help"], check=True, capture_output=True, cwd=ROOT)
    return (time.perf_counter() - began) * 1e3
