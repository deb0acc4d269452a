"""What is leant on of asyncio's sslproto is there; and what is done with it."""

from __future__ import annotations

import asyncio
import inspect
import socket
import ssl
import sys
import time
from asyncio import sslproto
from pathlib import Path
from typing import Any

import pytest

from oo.gateway.http_server._sslproto_patches import BUFFER, TLSConnection, can_be_aborted
from tests.support.certificates import self_signed
from tests.support.waiting import SOON


def test_each_name_is_there() -> None:
    arguments = inspect.signature(sslproto.SSLProtocol.__init__).parameters
    assert {"loop", "app_protocol", "sslcontext", "waiter", "server_side", "ssl_handshake_timeout"} <= set(arguments)
    assert callable(sslproto.SSLProtocol._on_handshake_complete)
    assert "self._closed = True" in inspect.getsource(sslproto._SSLProtocolTransport)
    source = inspect.getsource(sslproto)
    for name in ("_outgoing", "_incoming", "_sslobj", "self._transport", "_wakeup_waiter", "self._app_transport"):
        assert name in source
    if sys.version_info >= (3, 11):
        assert "bytearray(self.max_size)" in source
        assert "self._ssl_buffer_view[:nbytes]" in source
        assert hasattr(sslproto._SSLProtocolTransport, "_force_close")


class Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)  # type: ignore[attr-defined]


class Taking(Echo):
    def __init__(self) -> None:
        self.got = 0

    def data_received(self, data: bytes) -> None:
        self.got += len(data)


class Listening:
    """A listener over TLS. `made` holds its connections, `failed` counts those that came to nothing."""

    def __init__(self, directory: Path, patience: float = 10, protocol: type[Echo] = Echo) -> None:
        self.certificate = self_signed(directory, "127.0.0.1")
        self.patience, self.made, self.failed = patience, list[TLSConnection](), 0
        self.buffer, self.protocol = bytearray(BUFFER), protocol

    def _connection(self) -> TLSConnection:
        made = TLSConnection(self.protocol(), self.certificate.server, self.patience, self._fail, self.buffer)
        self.made.append(made)
        return self.made[-1]

    def _fail(self) -> None:
        self.failed += 1

    async def start(self) -> int:
        self.server = await asyncio.get_running_loop().create_server(self._connection, "127.0.0.1", 0)
        port: int = self.server.sockets[0].getsockname()[1]
        return port


async def test_it_carries_tls_with_a_small_buffer(tmp_path: Path) -> None:
    listening = Listening(tmp_path)
    port = await listening.start()
    context = ssl.create_default_context(cafile=listening.certificate.file)
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    data = bytes(range(256)) * 2048
    writer.write(data)
    assert await reader.readexactly(len(data)) == data
    if sys.version_info >= (3, 11):
        assert listening.made[0]._ssl_buffer is listening.buffer
    protocol: Any = listening.made[0]._app_protocol
    writer.close()
    await writer.wait_closed()
    await _until(lambda: listening.failed == 1)  # as it does for every connection that is lost
    assert protocol.transport.is_closing()  # else Python 3.10 warns when it is collected
    listening.server.close()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_what_says_that_nothing_more_is_sent_receives_all_the_same(
    tmp_path: Path, version: ssl.TLSVersion
) -> None:
    listening = Listening(tmp_path, protocol=Taking)
    address = ("127.0.0.1", await listening.start())
    context = ssl.create_default_context(cafile=listening.certificate.file)
    context.maximum_version = version

    def begun() -> ssl.SSLSocket:
        caller = context.wrap_socket(socket.create_connection(address, SOON), server_hostname="127.0.0.1")
        caller.sendall(b"1")
        return caller

    with await asyncio.to_thread(begun) as caller:
        (made,) = listening.made
        protocol: Any = made._app_protocol
        await _until(lambda: protocol.got == 1)
        protocol.transport.pause_reading()
        caller.sendall(b"2")
        await asyncio.sleep(0.1)  # until it has come, and was not read
        made.write_eof()
        assert await asyncio.to_thread(caller.recv, 1) == b""
        caller.sendall(b"3")
        protocol.transport.resume_reading()
        await _until(lambda: protocol.got == 3)
    await _until(lambda: listening.failed == 1)
    made.write_eof()  # there is nobody any more
    listening.server.close()


async def test_a_handshake_that_fails_has_an_alert(tmp_path: Path) -> None:
    listening = Listening(tmp_path)
    listening.certificate.server.sni_callback = lambda *_: ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
    port = await listening.start()
    context = ssl.create_default_context(cafile=listening.certificate.file)
    with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"):
        await asyncio.open_connection("127.0.0.1", port, ssl=context)
    await _until(lambda: listening.failed == 1)
    listening.server.close()


async def test_a_handshake_that_never_comes_ends(tmp_path: Path) -> None:
    listening = Listening(tmp_path, 0.1)
    port = await listening.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    assert await reader.read() == b""
    writer.close()
    await _until(lambda: listening.failed == 1)
    listening.server.close()


async def _until(met: object) -> None:
    until = time.monotonic() + 10
    while not met():  # type: ignore[operator]
        assert time.monotonic() < until
        await asyncio.sleep(0.01)


def test_a_transport_that_cannot_be_aborted_can() -> None:
    class Old(asyncio.Transport):
        aborted = 0

        def abort(self) -> None:
            self.aborted += 1

    old = Old()
    can_be_aborted(old)
    old._force_close(None)  # type: ignore[attr-defined]
    assert old.aborted == 1
    made = old._force_close  # type: ignore[attr-defined]
    can_be_aborted(old)
    assert old._force_close is made  # type: ignore[attr-defined]
