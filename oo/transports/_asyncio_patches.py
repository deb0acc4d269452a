"""What this library leans on inside asyncio: the TLS of a connection.

| name | why |
|---|---|
| a TLS transport's `_ssl_protocol`, and its `_transport` | what came before a reset is read, as without TLS |
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from typing import Any

_PIECE = 64 << 10  # bytes


def rest_of(transport: asyncio.BaseTransport) -> Iterator[bytes]:
    """What the socket of a connection that was lost still holds. asyncio stops reading when it cannot write, and an
    answer may have come before the server reset the connection."""
    try:
        with transport.get_extra_info("socket").dup() as sock:
            while data := sock.recv(_PIECE):
                yield data
    except (AttributeError, OSError):  # no socket at all, a closed one, or nothing more in it
        pass


def read_rest_of_tls(transport: Any) -> None:
    """Have the TLS of a connection take what its socket holds before it tells of the loss, by when that is closed."""
    tls = getattr(transport, "_ssl_protocol", None)
    # In TLS within TLS, through a proxy, that of the proxy alone reads from the socket.
    if tls is None or hasattr(tls._transport, "_ssl_protocol"):
        return
    socket_s = tls._transport

    def connection_lost(exc: BaseException | None) -> None:
        del tls.connection_lost
        for data in rest_of(socket_s) if exc is not None else ():
            _feed(tls, data)
        tls.connection_lost(exc)

    tls.connection_lost = connection_lost


def _feed(tls: Any, data: bytes) -> None:
    if not isinstance(tls, asyncio.BufferedProtocol):  # Python 3.10
        tls.data_received(data)
        return
    view = memoryview(data)
    while view:
        buffer = memoryview(tls.get_buffer(len(view)))
        size = min(len(buffer), len(view))
        buffer[:size], view = view[:size], view[size:]
        tls.buffer_updated(size)


def is_truncated(tls: ssl.SSLObject | None) -> bool:
    """Whether the TLS of a connection that was lost ended without close_notify (RFC 8446, 6.1)."""
    if tls is None:
        return False
    try:
        tls.read(1)
    except ssl.SSLWantReadError:  # where close_notify came, there is no more to wait for
        return True
    except (OSError, ValueError):
        pass
    return False
