"""Tunnels: a GET on one that is warm against the same by base URL, a new one with its GET, the memory of one that is
idle."""

from __future__ import annotations

import base64
import multiprocessing
import socket
import ssl
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.gateways import Served, gateway
from benchmarks.measure import FLOOR, Measured, Row, paired
from benchmarks.processes import resident, spent
from benchmarks.upstream import free_port, wait_for

HEAD = "GET {} HTTP/1.1\r\nHost: {}\r\n{}\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n" + b'{"ok": "yes"}'
GETS = 400  # of one measurement
NEW = 100
IDLE = 500


@contextmanager
def over_tls() -> Iterator[tuple[str, str]]:
    """A server over TLS in a process of its own, and the file to trust."""
    from tests.support.certificates import self_signed

    with tempfile.TemporaryDirectory() as directory:
        made = self_signed(Path(directory), "127.0.0.1")
        port = free_port()
        process = multiprocessing.get_context("spawn").Process(target=_serve, args=(port, made.both), daemon=True)
        process.start()
        try:
            wait_for(port)
            yield f"https://127.0.0.1:{port}", made.file
        finally:
            process.kill()
            process.join()


def _serve(port: int, both: str) -> None:
    import asyncio

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(ANSWER)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        writer.close()

    async def serve() -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(both)
        await (await asyncio.start_server(answer, "127.0.0.1", port, ssl=context)).serve_forever()

    asyncio.run(serve())


class Proxied:
    """What a caller by the forward proxy needs."""

    def __init__(self, served: Served, upstream: str, ca: str) -> None:
        self._upstreams = ssl.create_default_context(cafile=ca)
        self._place = urlsplit(upstream).netloc
        self._port = served.port
        asked = urllib.request.Request(
            f"http://127.0.0.1:{served.port}/ca.pem", headers={"Authorization": f"Bearer {served.route}"}
        )
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(asked) as answer:
            self._trusted = ssl.create_default_context(cadata=answer.read().decode())
        shown = base64.b64encode(f"oo:{served.route}".encode()).decode()
        head = f"CONNECT {self._place} HTTP/1.1\r\nHost: {self._place}\r\nProxy-Authorization: Basic {shown}\r\n\r\n"
        self._connect = head.encode()
        self.get = HEAD.format("/x", self._place, "").encode()

    def tunnel(self) -> ssl.SSLSocket:
        sock = connected(self._port)
        sock.sendall(self._connect)
        if not sock.recv(1024).startswith(b"HTTP/1.1 200 "):
            raise ConnectionError("no tunnel")
        return self._trusted.wrap_socket(sock, server_hostname="127.0.0.1")

    def directly(self) -> ssl.SSLSocket:
        """A connection to the upstream itself."""
        sock = connected(urlsplit(f"//{self._place}").port or 443)
        return self._upstreams.wrap_socket(sock, server_hostname="127.0.0.1")


def connected(port: int) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def timed(count: int, call: Callable[[], object], pid: int | None, unit: float = 1.0) -> Callable[[], Measured]:
    """How long a call takes, in so many microseconds, and what of the processor the gateway of that process takes."""

    def measure() -> Measured:
        before = spent(pid) if pid else 0.0
        began = time.perf_counter()
        for _ in range(count):
            call()
        took = (time.perf_counter() - began) * 1e6
        return Measured(took / count / unit, (spent(pid) - before) / count if pid else None)

    return measure


def ask(sock: socket.socket, sent: bytes) -> None:
    sock.sendall(sent)
    got = b""
    while not got.endswith(b'{"ok": "yes"}'):
        piece = sock.recv(65536)
        if not piece:
            raise ConnectionError("the connection was closed")
        got += piece


def held_by(connect: Callable[[], socket.socket], ask: Callable[[socket.socket], object], pid: int) -> float:
    """KiB that a process holds for each connection which has asked once and waits."""
    with closing(connect()) as first:
        ask(first)
    before = resident(pid)
    held = [connect() for _ in range(IDLE)]
    for each in held:
        ask(each)
    grown = resident(pid) - before
    for each in held:
        each.close()
    return grown / IDLE / 1024


def tunnel_rows(rounds: int) -> Iterator[Row]:
    with over_tls() as (upstream, ca), gateway(upstream, ca=ca) as served:
        proxied = Proxied(served, upstream, ca)
        by_base_url = HEAD.format("/api/proxy/x", "gateway", f"Authorization: Bearer {served.route}\r\n").encode()
        with proxied.tunnel() as tls, connected(served.port) as plain, proxied.directly() as bare:
            sides = {
                "ours": timed(GETS, lambda: ask(tls, proxied.get), served.pid),
                "base URL": timed(GETS, lambda: ask(plain, by_base_url), served.pid),
                FLOOR: timed(GETS, lambda: ask(bare, proxied.get), None),
            }
            yield paired("GET on a warm tunnel", "us", rounds, sides, 1.15, "base URL")

        def anew(connect: Callable[[], ssl.SSLSocket]) -> None:
            with connect() as new:
                ask(new, proxied.get)

        sides = {
            "ours": timed(NEW, lambda: anew(proxied.tunnel), served.pid, 1e3),
            FLOOR: timed(NEW, lambda: anew(proxied.directly), None, 1e3),
        }
        yield paired("a new tunnel and GET", "ms", rounds, sides, 3.5)
        held = held_by(proxied.tunnel, lambda tunnel: ask(tunnel, proxied.get), served.pid)
        yield Row("an idle tunnel", "KiB", {"ours": held}, {}, 60.0)
