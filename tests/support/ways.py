"""The ways that a request leaves this library: the two clients, and the gateway on its way upstream."""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import Any, NamedTuple

import oo
import oo.testing
from tests.support.probing import TOKEN
from tests.support.worlds import World


class Outcome(NamedTuple):
    """What a call came to: the status and body of an answer, or what was said in the place of one."""

    status: int | None
    body: Any
    said: str = ""
    retryable: bool = False


class Way:
    """One of "blocking", "asyncio" and "gateway". What it takes from the environment it takes at the first call."""

    def __init__(self, name: str, stack: ExitStack) -> None:
        self.name = name
        self._stack = stack
        self._world = World("asyncio" if name == "asyncio" else "blocking")
        stack.callback(self._world.close)
        self._gateway: oo.testing.LocalGateway | None = None
        self._clients: dict[str, tuple[Any, str]] = {}

    def call(self, url: str, path: str = "v1/x", method: str = "GET", payload: Any = None, **headers: str) -> Outcome:
        """Call what listens at `url`, over the connections of the calls before."""
        client, token = self._client(url)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            response = client.send(path, token, method, payload, named)
        except oo.DoubleOError as error:
            if error.status is None or (self.name == "gateway" and error.status in (502, 504)):
                return Outcome(None, None, f"{error} {json.dumps(error.body)}", error.retryable)
            return Outcome(error.status, error.body)
        return Outcome(response.status, response.json() if response.body else None)

    def _client(self, url: str) -> tuple[Any, str]:
        if url not in self._clients:
            if self.name != "gateway":
                self._clients[url] = (self._world.client(url, timeout=8), TOKEN)
            else:
                self._gateway = self._gateway or self._stack.enter_context(oo.testing.gateway())
                token = self._gateway.route(f"r{len(self._clients)}", url)
                self._clients[url] = (self._world.client(self._gateway.url, timeout=8), token)
        return self._clients[url]
