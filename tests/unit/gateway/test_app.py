from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

import oo
from oo.gateway.app import Gateway
from oo.gateway.listening import begin_no_more, bound, bound_unix, url_of
from oo.gateway.models import Route
from oo.testing import temporary_vault
from tests.support.faults import GULP, READ, SILENCE, Script, head, serving
from tests.support.stores import LenientStore, Notes


async def test_a_gateway_closes_the_socket_it_was_given() -> None:
    sock = bound("127.0.0.1", 0)
    async with Gateway(LenientStore(), sock=sock) as gateway:
        assert gateway.url == url_of(sock, False)
    assert sock.fileno() == -1


async def test_both_clients_reach_one_on_a_unix_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "oo.sock")
    async with temporary_vault() as vault:
        await vault.put_secret("a", "value of a")
        token = await vault.issue("secret", "a")
        async with Gateway(vault, sock=bound_unix(path), audit=Notes()):
            url = f"http+unix://{path.replace('/', '%2F')}"
            async with oo.AsyncClient(url) as client:
                assert await client.get_secret(token) == "value of a"
            with oo.Client(url) as blocking:
                assert await asyncio.to_thread(blocking.get_secret, token) == "value of a"


@asynccontextmanager
async def caller(gateway: Gateway) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection to a gateway."""
    host, port = gateway.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


@asynccontextmanager
async def held(script: Script, notes: Notes) -> AsyncIterator[tuple[Gateway, asyncio.StreamReader]]:
    """A gateway with a call under way, whose upstream follows a script, and what comes of the answer."""
    with serving(script) as upstream:
        async with temporary_vault() as vault, Gateway(vault, audit=notes) as gateway:
            await vault.put_route(Route("r", upstream.url, allow_private=True))
            token = await vault.issue("route", "r")
            async with caller(gateway) as (reader, writer):
                writer.write(f"GET /api/proxy/x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
                assert b"200 OK" in await reader.readuntil(b"one")
                yield gateway, reader


STREAM = head(b"Transfer-Encoding: chunked") + b"3\r\none\r\n"


async def test_a_call_under_way_may_end_and_is_not_cut() -> None:
    notes = Notes()
    async with held([READ, STREAM, 1.0, b"3\r\ntwo\r\n0\r\n\r\n", GULP], notes) as (gateway, reader):
        assert await gateway.drain(30, asyncio.Event()) == 0
        assert (await reader.read()).endswith(b"0\r\n\r\n")
    assert (notes.outcomes, notes.cuts) == (["allowed"], [])


@pytest.mark.parametrize("hurried", [False, True])
async def test_what_takes_longer_than_it_is_given_is_cut_and_the_audit_says_so(hurried: bool) -> None:
    notes, hurry = Notes(), asyncio.Event()
    if hurried:
        asyncio.get_running_loop().call_later(0.1, hurry.set)
    async with held([READ, STREAM, SILENCE], notes) as (gateway, reader):
        assert await gateway.drain(3600 if hurried else 0.1, hurry) == 1
        await gateway.__aexit__(None, None, None)
        with suppress(ConnectionResetError):
            assert b"0\r\n\r\n" not in await reader.read()
    assert (notes.outcomes, notes.cuts) == (["cut"], [1])


async def test_a_gateway_that_ends_without_a_drain_waits_for_no_call() -> None:
    notes = Notes()
    async with held([READ, STREAM, SILENCE], notes):
        pass
    assert notes.outcomes == ["left"]


async def test_it_is_not_ready_while_it_drains_and_listens_no_more() -> None:
    async with Gateway(LenientStore()) as gateway, caller(gateway) as (kept, writer):
        writer.write(b"GET /ready HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"200 OK" in await kept.readuntil(b"}")
        draining = asyncio.create_task(gateway.drain(3600, asyncio.Event()))
        await asyncio.sleep(0.1)
        with pytest.raises(ConnectionRefusedError):
            async with caller(gateway):
                pass
        writer.write(b"GET /ready HTTP/1.1\r\nHost: x\r\n\r\n")  # on a connection that is open
        said = await kept.read()
        assert b"503 Service Unavailable" in said
        assert b"Connection: close" in said
        assert b'"draining"' in said
        assert await draining == 0


async def test_a_connection_that_stays_silent_is_closed_in_a_drain() -> None:
    async with Gateway(LenientStore()) as gateway, caller(gateway) as (fresh, _), caller(gateway) as (kept, writer):
        writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        await kept.readuntil(b"}")
        assert await gateway.drain(3600, asyncio.Event()) == 0
        assert (await fresh.read(), await kept.read()) == (b"", b"")


async def test_plugins_are_asked_anew_and_stay_where_one_breaks() -> None:
    asked: list[str] = []

    class Counting:
        @oo.hookimpl
        def oo_middleware(self, client: oo.ClientInfo) -> list[tuple[oo.Slot, object]]:
            asked.append(client.role)
            if len(asked) == 3:
                raise RuntimeError("broken")
            return []

    oo.register(Counting(), "counting")
    try:
        async with Gateway(LenientStore(), plugins=["counting"]) as gateway:
            gateway.reload()
            with pytest.raises(ValueError, match="broken"):
                gateway.reload()
    finally:
        oo.unregister("counting")
    assert asked == ["gateway"] * 3


@pytest.mark.skipif(sys.platform != "linux", reason="the filter is Linux's")
async def test_a_connection_that_begins_as_the_last_is_answered() -> None:
    async with Gateway(LenientStore()) as gateway:
        sock = gateway._sock
        assert sock is not None

        def leave() -> socket.socket:
            last.append(socket.create_connection(sock.getsockname()))
            assert begin_no_more(sock)
            return last[0]

        last: list[socket.socket] = []
        draining = asyncio.create_task(gateway.drain(30, asyncio.Event(), leave=leave))
        while not last and not draining.done():
            await asyncio.sleep(0)
        with last[0] as begun:
            begun.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            begun.setblocking(False)
            assert (await asyncio.get_running_loop().sock_recv(begun, 12)) == b"HTTP/1.1 200"
        assert await draining == 0
