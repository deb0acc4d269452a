"""What asks for a WebSocket."""

from __future__ import annotations

import pytest
from aiohttp.test_utils import make_mocked_request

from oo.gateway.fronts.websocket import asks_for_websocket

WHOLE = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}


@pytest.mark.parametrize(
    ("method", "changes", "asks"),
    [
        ("GET", {}, True),
        ("GET", {"Connection": "keep-alive , UPGRADE", "Upgrade": "WebSocket"}, True),
        ("POST", {}, False),
        ("GET", {"Connection": "keep-alive"}, False),
        ("GET", {"Upgrade": "h2c"}, False),
        ("GET", {"Sec-WebSocket-Key": None}, False),
        ("GET", {"Upgrade": None}, False),
    ],
)
def test_a_handshake_is_told_from_other_requests(method: str, changes: dict[str, str | None], asks: bool) -> None:
    headers = {name: value for name, value in {**WHOLE, **changes}.items() if value is not None}
    assert asks_for_websocket(make_mocked_request(method, "/api/proxy/x", headers)) is asks
