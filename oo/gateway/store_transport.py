"""The transport over the store: answers what needs no upstream."""

from __future__ import annotations

from .._http.request import Request
from .._http.response import Response
from .answers import json_answer
from .context import gateway_context
from .errors import Unauthorized
from .store.base import Store


class StoreTransport:
    """Answers a call for a secret, an environment or the gateway's health.

    Unauthorized if what the token opens is gone.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    async def send(self, request: Request) -> Response:
        """The answer, as JSON."""
        context = gateway_context(request)
        if context.endpoint == "health":
            return json_answer(request, 200, {"status": "ok"})
        name = context.target or ""
        if context.endpoint == "secret":
            value = await self._store.secret(name)
            if value is not None:
                return json_answer(request, 200, {"value": value})
        elif context.endpoint == "env":
            variables = await self._store.environment(name)
            if variables is not None:
                return json_answer(request, 200, {"secrets": variables})
        raise Unauthorized("gone")

    async def close(self) -> None:
        """Do nothing: the store is its owner's to close."""
