"""Tunnels: a GET on one that is warm against the same by base URL, a new one with its GET, the memory of one that is
idle."""

from __future__ import annotations

import base64
import socket
import ssl
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

from benchmarks.gateways import Served, gateway
from benchmarks.measure import FLOOR, Measured, Row, once, paired
from benchmarks.processes import resident_family, spent
from benchmarks.upstream import SECRET, upstream

HEAD = "GET {} HTTP/1.1\r\nHost: {}\r\n{}\r\n"
PATH = "/api/secret"
"""What is asked for, of the upstream itself."""
GETS = 400  # of one measurement
NEW = 100
IDLE = 500


class Proxied:
    """What a caller by the forward proxy needs."""

    def __init__(self, served: Served, upstream: int, ca: str) -> None:
        self._upstreams = ssl.create_default_context(cafile=ca)
        self._upstream = upstream
        self._port = served.port
        asked = urllib.request.Request(
            f"http://127.0.0.1:{served.port}/ca.pem", headers={"Authorization": f"Bearer {served.route}"}
        )
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(asked) as answer:
            self._trusted = ssl.create_default_context(cadata=answer.read().decode())
        shown = base64.b64encode(f"oo:{served.route}".encode()).decode()
        place = f"127.0.0.1:{upstream}"
        head = f"CONNECT {place} HTTP/1.1\r\nHost: {place}\r\nProxy-Authorization: Basic {shown}\r\n\r\n"
        self._connect = head.encode()
        self.get = HEAD.format(PATH, place, "").encode()

    def tunnel(self) -> ssl.SSLSocket:
        sock = connected(self._port)
        sock.sendall(self._connect)
        if not sock.recv(1024).startswith(b"HTTP/1.1 200 "):
            raise ConnectionError("no tunnel")
        return self._trusted.wrap_socket(sock, server_hostname="127.0.0.1")

    def directly(self) -> ssl.SSLSocket:
        """A connection to the upstream itself."""
        sock = connected(self._upstream)
        return self._upstreams.wrap_socket(sock, server_hostname="127.0.0.1")


def connected(port: int) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def timed(count: int, call: Callable[[], object], pid: int, unit: float = 1.0) -> Callable[[], Measured]:
    """How long a call takes, in so many microseconds, and what of the processor the server of that process takes."""

    def measure() -> Measured:
        before = spent(pid)
        began = time.perf_counter()
        for _ in range(count):
            call()
        took = (time.perf_counter() - began) * 1e6
        return Measured(took / count / unit, (spent(pid) - before) / count)

    return measure


def ask(sock: socket.socket, sent: bytes) -> None:
    sock.sendall(sent)
    got = b""
    while not got.endswith(SECRET):
        piece = sock.recv(65536)
        if not piece:
            raise ConnectionError("the connection was closed")
        got += piece


def held_by(connect: Callable[[], socket.socket], ask: Callable[[socket.socket], object], pid: int) -> float:
    """KiB that a process holds for each connection which has asked once and waits."""
    with closing(connect()) as first:
        ask(first)
    before = resident_family(pid)
    held = [connect() for _ in range(IDLE)]
    for each in held:
        ask(each)
    grown = resident_family(pid) - before
    for each in held:
        each.close()
    return grown / IDLE / 1024


def tunnel_rows(rounds: int) -> Iterator[Row]:
    from tests.support.certificates import self_signed

    with ExitStack() as stack:
        made = self_signed(Path(stack.enter_context(tempfile.TemporaryDirectory())), "127.0.0.1")
        server = stack.enter_context(upstream(made.both))
        served = stack.enter_context(gateway(f"https://127.0.0.1:{server.port}", ca=made.file))
        proxied = Proxied(served, server.port, made.file)
        by_base_url = HEAD.format(f"/api/proxy{PATH}", "gateway", f"Authorization: Bearer {served.route}\r\n").encode()
        with proxied.tunnel() as tls, connected(served.port) as plain, proxied.directly() as bare:
            sides = {
                "ours": timed(GETS, lambda: ask(tls, proxied.get), served.pid),
                "base URL": timed(GETS, lambda: ask(plain, by_base_url), served.pid),
                FLOOR: timed(GETS, lambda: ask(bare, proxied.get), server.pid),
            }
            yield paired("GET on a warm tunnel", "us", rounds, sides, 1.15, "base URL")

        def anew(connect: Callable[[], ssl.SSLSocket]) -> None:
            with connect() as new:
                ask(new, proxied.get)

        sides = {
            "ours": timed(NEW, lambda: anew(proxied.tunnel), served.pid, 1e3),
            FLOOR: timed(NEW, lambda: anew(proxied.directly), server.pid, 1e3),
        }
        yield paired("a new tunnel and GET", "ms", rounds, sides, 3.5)
        connects = {"ours": (proxied.tunnel, served.pid), FLOOR: (proxied.directly, server.pid)}
        held = {
            side: held_by(connect, lambda tunnel: ask(tunnel, proxied.get), pid)
            for side, (connect, pid) in connects.items()
        }
        yield once("an idle tunnel", "KiB", held, 60.0)
