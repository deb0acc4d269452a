"""Everything here leans on `asyncio.sslproto`, which the documentation of asyncio does not promise.

| name                                          | for what                                                          |
|-----------------------------------------------|-------------------------------------------------------------------|
| SSLProtocol, its arguments and callbacks      | TLS over a transport that is there: `loop.start_tls` awaits, and  |
|                                               | with TLS 1.3 what a client sends behind its handshake comes first |
| SSLProtocol.max_size, _ssl_buffer,            | the buffer that each connection would have: 256 KiB               |
| _ssl_buffer_view (from Python 3.11 on)        |                                                                   |
| SSLProtocol._on_handshake_complete,           | send the alert of a handshake that failed, which asyncio drops    |
| _outgoing (_sslpipe._outgoing on 3.10),       |                                                                   |
| _transport                                    |                                                                   |
| _sslobj, _incoming (of _sslpipe on 3.10)      | say that nothing more is sent, and receive all the same           |
| _app_transport, its _closed                   | have Python 3.10 take a lost connection for closed too            |
| _SSLProtocolTransport._force_close, on 3.10   | what an outer connection is aborted by, where TLS is within TLS   |

tests/unit/gateway/http_server/test_sslproto_patches.py asserts that each of them is there. Python 3.10 has no such
buffer: what it keeps of a connection is not to be set, and is less.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import sys
from asyncio import sslproto
from collections.abc import Callable
from typing import Any

BUFFER = 32 << 10
"""Bytes that are received at once: two records of TLS."""


class TLSConnection(sslproto.SSLProtocol):
    """The server's end of a TLS connection, over whatever transport it is connected to, beneath `connection`.

    `lost` is called when the transport is lost: before the handshake is over, `connection` never hears of that.
    What is received passes through `buffer`, which all connections of a loop may share: it is read before another has
    its turn. Windows' loop reads while others have theirs, so there each has its own.
    """

    max_size = BUFFER

    def __init__(
        self,
        connection: asyncio.Protocol,
        context: ssl.SSLContext,
        patience: float,
        lost: Callable[[], object],
        buffer: bytearray,
    ) -> None:
        """`patience` is for the handshake, in seconds; `buffer` has BUFFER bytes."""
        loop = asyncio.get_running_loop()
        # With no `waiter`, nobody waits for the handshake.
        super().__init__(loop, connection, context, None, server_side=True, ssl_handshake_timeout=patience)  # type: ignore[arg-type]  # typeshed has a Future, and whole seconds
        self._lost = lost
        if hasattr(self, "_ssl_buffer") and sys.platform != "win32":
            self._ssl_buffer, self._ssl_buffer_view = buffer, memoryview(buffer)

    def _on_handshake_complete(self, handshake_exc: BaseException | None) -> None:
        if handshake_exc is not None:
            self._send_alert()
        super()._on_handshake_complete(handshake_exc)

    def connection_lost(self, exc: BaseException | None) -> None:
        above: Any = self._app_transport
        if above is not None:
            above._closed = True  # Python 3.10 leaves it open where the peer closed first, and warns of that
        super().connection_lost(exc)
        lost, self._lost = self._lost, lambda: None  # which may hold this
        lost()

    def abort(self) -> None:
        """End the connection beneath at once."""
        transport: Any = self._transport
        if transport is not None:
            transport.abort()

    def write_eof(self) -> None:
        """Say that nothing more is sent (RFC 8446, 6.1), and receive all the same."""
        pipe = self._pipe
        transport: Any = self._transport
        talk = getattr(pipe, "_sslobj", None)
        if talk is None or transport is None:
            return
        came = pipe._incoming.read()  # of which `unwrap` would have OpenSSL read nothing more
        with contextlib.suppress(ssl.SSLError):  # the peer's own has not come
            talk.unwrap()
        pipe._incoming.write(came)
        transport.write(pipe._outgoing.read())

    def _send_alert(self) -> None:
        transport: Any = self._transport
        alert = self._pipe._outgoing.read()
        if alert and transport is not None:
            transport.write(alert)
            transport.close()

    @property
    def _pipe(self) -> Any:
        return self if hasattr(self, "_outgoing") else self._sslpipe  # type: ignore[attr-defined]  # Python 3.10's


def can_be_aborted(transport: asyncio.Transport) -> None:
    """Have a transport be one that TLS can be put over: Python 3.10's, of TLS itself, lacks what it is aborted by."""
    if not hasattr(transport, "_force_close"):
        transport._force_close = lambda _error: transport.abort()  # type: ignore[attr-defined]  # asyncio's own
