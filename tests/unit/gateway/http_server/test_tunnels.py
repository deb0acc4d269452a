from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from aiohttp import web

from oo.gateway.http_server import server as http_server
from oo.gateway.http_server.server import Server
from oo.gateway.http_server.tunnels import ESTABLISHED, Taken, take_over, tunnel_of
from oo.gateway.listening import bound
from tests.support.certificates import Certificate, self_signed
from tests.support.waiting import SOON

CONNECT = b"CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n"


class Tunnelling:
    """A server whose every CONNECT opens a tunnel, and whose tunnels say in which they are."""

    def __init__(self, directory: Path) -> None:
        self.certificate: Certificate = self_signed(directory, "127.0.0.1")
        self.server = Server(self.answer, self.refuse)
        self.taken: list[web.BaseRequest] = []
        self.open: list[Callable[[], object]] = []  # what ends each of them

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method == "CONNECT":
            self.taken.append(request)
            return take_over(request, self.certificate.server, request.raw_path, self.watch)
        return web.Response(text=str(tunnel_of(request)))

    def watch(self, leave: Callable[[], object]) -> Callable[[], object]:
        self.open.append(leave)
        return lambda: self.open.remove(leave)

    def refuse(self, _request: web.BaseRequest, status: int = 400) -> web.StreamResponse:
        return web.Response(status=status)

    async def listen(self, tls: bool = False) -> int:
        sock = bound("127.0.0.1", 0)
        await self.server.listen(sock, self.certificate.server if tls else None)
        port: int = sock.getsockname()[1]
        return port

    async def end(self) -> None:
        await self.server.end()


@pytest.fixture
async def tunnelling(tmp_path: Path) -> Tunnelling:
    return Tunnelling(tmp_path)


async def opened(port: int, tls: ssl.SSLContext | None = None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
    writer.write(CONNECT)
    assert await reader.readexactly(len(ESTABLISHED)) == ESTABLISHED
    return reader, writer


@pytest.mark.parametrize("outer", [False, True])
async def test_what_comes_within_tls_is_the_tunnels(tunnelling: Tunnelling, outer: bool) -> None:
    port = await tunnelling.listen(outer)
    trusted = ssl.create_default_context(cafile=tunnelling.certificate.file)
    reader, writer = await opened(port, trusted if outer else None)
    if outer:  # TLS within TLS, by hand: asyncio's start_tls does it from 3.11 on
        await _talk_within(reader, writer, trusted)
    else:
        transport = await asyncio.get_running_loop().start_tls(
            writer.transport, writer.transport.get_protocol(), trusted, server_hostname="127.0.0.1"
        )
        writer._transport = transport  # type: ignore[attr-defined]
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\na.test:443")).startswith(b"HTTP/1.1 200 OK")
    assert len(tunnelling.server._tracked) == len(tunnelling.open) == 1
    writer.transport.abort()
    await _until(lambda: not tunnelling.server._tracked)
    assert tunnelling.open == []
    assert tunnelling.taken[0].protocol.transport is None
    await tunnelling.end()


async def _talk_within(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, trusted: ssl.SSLContext) -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = trusted.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
    sent, plain = False, b""
    while b"a.test:443" not in plain:
        try:
            tls.do_handshake()
            if not sent:
                tls.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                sent = True
            writer.write(outgoing.read())
            plain += tls.read(1 << 16)
        except ssl.SSLWantReadError:
            writer.write(outgoing.read())
            data = await asyncio.wait_for(reader.read(1 << 16), 10)
            assert data
            incoming.write(data)
    assert plain.startswith(b"HTTP/1.1 200 OK")


async def test_a_handshake_that_is_not_made_ends_and_is_counted(
    tunnelling: Tunnelling, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("oo.gateway.http_server.server.HEADER_TIMEOUT", 0.2)
    port = await tunnelling.listen()
    reader, writer = await opened(port)
    assert len(tunnelling.server._tracked) == len(tunnelling.server._fresh) == len(tunnelling.open) == 1
    assert await asyncio.wait_for(reader.read(), 10) == b""
    writer.close()
    await _until(lambda: not tunnelling.server._tracked)
    assert tunnelling.open == []
    await tunnelling.end()


@pytest.mark.parametrize("way", ["end", "drain", "give way", "watched"])
async def test_a_tunnel_without_a_handshake_ends_with_the_server(
    tunnelling: Tunnelling, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "SPEAK_WITHIN", 0.05)
    port = await tunnelling.listen()
    reader, writer = await opened(port)
    if way == "end":
        await tunnelling.end()
    elif way == "drain":
        assert await tunnelling.server.drain(5, asyncio.Event(), lambda: 0) == 0
    elif way == "watched":
        tunnelling.open[0]()
    else:
        tunnelling.server._limit = 1
        await asyncio.sleep(0.1)
        other = await asyncio.open_connection("127.0.0.1", port)
        other[1].close()
    assert await asyncio.wait_for(reader.read(), 10) == b""
    writer.close()
    await tunnelling.end()


async def test_a_caller_who_has_left_gets_no_tunnel(tunnelling: Tunnelling) -> None:
    port = await tunnelling.listen()
    reader, writer = await opened(port)
    with pytest.raises(ConnectionResetError):
        take_over(tunnelling.taken[0], tunnelling.certificate.server, "again", tunnelling.watch)
    writer.transport.abort()
    assert isinstance(reader, asyncio.StreamReader)
    await tunnelling.end()


async def test_what_is_taken_sends_nothing() -> None:
    taken = Taken()
    await taken.prepare(None)  # type: ignore[arg-type]
    await taken.write_eof()
    assert taken.keep_alive is False


async def _until(met: object) -> None:
    until = time.monotonic() + 10
    while not met():  # type: ignore[operator]
        assert time.monotonic() < until
        await asyncio.sleep(0.01)


async def shake_hands(certificate: Certificate, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The client's part of a handshake, by one that says nothing more."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = ssl.create_default_context(cafile=certificate.file).wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
    while True:
        try:
            tls.do_handshake()
        except ssl.SSLWantReadError:
            writer.write(outgoing.read())
            incoming.write(await reader.read(1 << 16))
        else:
            writer.write(outgoing.read())
            return


@pytest.mark.parametrize("tunnel", [False, True])
@pytest.mark.parametrize("shakes_hands", [False, True])
async def test_whoever_does_not_take_leave_is_left(tunnelling: Tunnelling, tunnel: bool, shakes_hands: bool) -> None:
    port = await tunnelling.listen(tls=not tunnel)
    reader, writer = await (opened(port) if tunnel else asyncio.open_connection("127.0.0.1", port))
    if shakes_hands:
        await shake_hands(tunnelling.certificate, reader, writer)
    await asyncio.sleep(0.05)
    await tunnelling.end()
    with contextlib.suppress(ConnectionError):
        await asyncio.wait_for(reader.read(), SOON)
    writer.close()
