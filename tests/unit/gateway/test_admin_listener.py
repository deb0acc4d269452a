from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from oo.gateway.admin_listener import listening, read_token
from oo.gateway.app import Gateway
from oo.gateway.errors import StoreError
from oo.gateway.listening import bound, url_of
from oo.gateway.metrics import Metrics
from tests.support.processes import get
from tests.support.stores import LenientStore, Notes


async def test_administrators_are_answered_on_a_socket_of_their_own(tmp_path: Path) -> None:
    sock, metrics = bound("127.0.0.1", 0), Metrics(tmp_path)
    url = url_of(sock, False)
    async with Gateway(LenientStore(), audit=Notes(), metrics=metrics) as gateway, AsyncExitStack() as stack:
        await stack.enter_async_context(listening(gateway, sock, None, None, tmp_path))
        assert (await asyncio.to_thread(get, gateway.url, "oo_token")).status == 401
        assert (await asyncio.to_thread(get, gateway.url, None, "/metrics")).status == 404
        text = (await asyncio.to_thread(get, url, None, "/metrics")).body
        assert 'oo_calls_total{operation="secret",outcome="gone",route="",status="4xx"} 1.0' in text
        assert 'oo_store_seconds_count{engine="other",operation="authorize"} 1.0' in text
        assert (await asyncio.to_thread(get, url, None, "/ready")).status == 200
        await gateway.drain(0.1, asyncio.Event())
        assert (await asyncio.to_thread(get, url, None, "/ready")).status == 503
    metrics.close()


def test_a_token_is_read_from_a_file_that_others_cannot_read(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("0123456789abcdef\n")
    file.chmod(0o600)
    assert read_token(str(file)) == b"0123456789abcdef"
    assert read_token(None) is None
    file.chmod(0o644)
    with pytest.raises(StoreError, match="others can read"):
        read_token(str(file))
    file.chmod(0o600)
    file.write_text("short")
    with pytest.raises(StoreError, match="16 characters"):
        read_token(str(file))
    with pytest.raises(StoreError, match="cannot be read: No such file"):
        read_token(str(tmp_path / "none"))
