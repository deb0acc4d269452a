from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

import oo.testing
from oo.testing import BackgroundLoop
from tests.support.apis import APIs

KEY = "the-real-key-of-the-api"


class Shop:
    """A gateway before an upstream, which sees its own key and nothing else: `base` is where an SDK calls, with
    `token`."""

    def __init__(self, gateway: oo.testing.LocalGateway, upstream: APIs) -> None:
        self._gateway = gateway
        gateway.secret("key", KEY)
        self.token = gateway.route("api", upstream.url, {"X-Real-Key": "{key}"}, allow=("* /*",))
        self.base = f"{gateway.url}/api/proxy"
        self.upstream = upstream

    def allow_nothing(self) -> None:
        """Refuse what the token asks for from now on."""
        self.token = self._gateway.route("none", self.upstream.url, allow=("GET /none",))

    def assert_clean(self, calls: int) -> None:
        """So many calls went upstream, each with the API's key, none with the caller's token."""
        assert len(self.upstream.seen) == calls
        for each in self.upstream.seen:
            headers = [f"{name}: {value}" for name, value in each["headers"].items()]
            assert f"X-Real-Key: {KEY}" in headers
            assert self.token not in json.dumps([each["path"], headers, each["body"].decode("latin-1")])


@pytest.fixture
def shop(gateway: oo.testing.LocalGateway) -> Iterator[Shop]:
    with BackgroundLoop() as background:
        yield Shop(gateway, background.enter(APIs()))
