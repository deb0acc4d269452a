from __future__ import annotations

import pytest

import oo
from oo.gateway.context import GatewayContext
from oo.gateway.headers import upstream_request
from oo.gateway.models import Route
from oo.gateway.upstream import UpstreamTransport
from tests.support.stores import LenientStore


def request(url: str, allow_private: bool) -> oo.Request:
    return upstream_request(Route("r", url, allow_private=allow_private), "GET", "x", (), None, GatewayContext())


async def test_a_private_address_is_looked_at_before_anything_is_sent() -> None:
    upstream = UpstreamTransport(LenientStore())
    with pytest.raises(oo.DoubleOError, match="its address is private"):
        await upstream.send(request("http://127.0.0.1:9", allow_private=False))
    with pytest.raises(oo.DoubleOError) as caught:
        await upstream.send(request("http://127.0.0.1:9", allow_private=True))
    assert caught.value.reason == "connection"
    await upstream.close()
