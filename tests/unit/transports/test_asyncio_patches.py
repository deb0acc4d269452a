"""What is leaned on inside asyncio's TLS is there, in the shape that is needed."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Any

from oo.transports._asyncio_patches import read_rest_of_tls
from tests.support.certificates import self_signed
from tests.support.faults import READ, SILENCE, serving


async def test_the_tls_of_a_connection_tells_of_its_loss_once_it_has_read_the_rest(tmp_path: Path) -> None:
    certificate = self_signed(tmp_path, "127.0.0.1")
    loop, trust = asyncio.get_running_loop(), ssl.create_default_context(cafile=certificate.file)
    with serving([READ, SILENCE], tls=certificate.server) as server:
        transport, _ = await loop.create_connection(asyncio.Protocol, "127.0.0.1", server.port, ssl=trust)
        read_rest_of_tls(transport)
        tls: Any = transport._ssl_protocol  # type: ignore[attr-defined]  # asyncio's
        assert tls._transport.get_protocol() is tls
        assert vars(tls).keys() >= {"connection_lost"}
        transport.abort()
        assert await asyncio.to_thread(server.until, left=1)
        assert "connection_lost" not in vars(tls)
