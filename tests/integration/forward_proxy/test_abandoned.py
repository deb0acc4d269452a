"""Handshakes that nobody ends leave nothing: no descriptor, no task, no object."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from oo.gateway.http_server._sslproto_patches import TLSConnection
from oo.gateway.http_server.server import Connection
from tests.support.collector import left_to_collector
from tests.support.private_hosts import OpenAIOverTLS
from tests.support.processes import until
from tests.support.tunnels import Proxied

COUNT = 1000


def hello() -> bytes:
    """The beginning of a handshake."""
    outgoing = ssl.MemoryBIO()
    tls = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="api.test")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


HELLO = hello()
WAYS: list[Callable[[socket.socket], object]] = [
    lambda _: None,
    lambda sock: sock.sendall(HELLO[:50]),
    lambda sock: (sock.sendall(HELLO), sock.recv(100)),
    lambda sock: sock.sendall(b"no TLS at all\r\n\r\n"),
    lambda sock: sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0"),  # a reset
]


async def tasks() -> int:
    return len(asyncio.all_tasks())


def held() -> int:
    gc.collect()
    return sum(isinstance(each, (Connection, TLSConnection)) for each in gc.get_objects())


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
def test_a_thousand_abandoned_handshakes_leave_nothing(proxied: Proxied, api: OpenAIOverTLS) -> None:
    def state() -> tuple[int, int, int]:
        return len(os.listdir("/proc/self/fd")), proxied.gateway.run(tasks()), held()

    target = f"api.test:{api.port}"
    with proxied.tunnel(target):  # what is made once is made
        pass
    time.sleep(0.2)
    before = state()
    for number in range(COUNT):
        sock, head = proxied.connect(target)
        with sock:
            assert head.startswith(b"HTTP/1.1 200 ")
            WAYS[number % len(WAYS)](sock)
    after = before

    def is_clean() -> bool:
        nonlocal after
        after = state()
        return all(there <= here for there, here in zip(after, before, strict=True))

    with contextlib.suppress(AssertionError):
        until(is_clean)
    assert is_clean(), (before, after)
    with proxied.tunnel(target) as tls:
        tls.sendall(f"GET /v1/models HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
        assert tls.recv(100).startswith(b"HTTP/1.1 200 ")


def test_a_tunnel_that_has_ended_leaves_nothing_to_the_collector(proxied: Proxied, api: OpenAIOverTLS) -> None:
    def again() -> None:
        for _ in range(10):
            with proxied.tunnel(f"api.test:{api.port}") as tls:
                tls.sendall(b"GET /v1/models HTTP/1.1\r\nHost: api.test\r\n\r\n")
                assert tls.recv(1024).startswith(b"HTTP/1.1 200 ")
        until(lambda: proxied.gateway.run(connected()) == 0)

    async def connected() -> int:
        return sum(isinstance(each, TLSConnection) and each._transport is not None for each in gc.get_objects())  # type: ignore[attr-defined]

    assert left_to_collector(again, 10) == []
