"""The transport over the store: answers what needs no upstream."""

from __future__ import annotations

from .._http.request import Request
from .._http.response import Response
from .answers import json_answer
from .audit_log import Audit
from .context import gateway_context
from .endpoints import READY
from .errors import StoreError, StoreMoved, Unauthorized
from .store.base import Store


class StoreTransport:
    """Answers a call for a secret, an environment or the gateway's health.

    Unauthorized if what the token opens is gone.
    """

    def __init__(self, store: Store, audit: Audit | None = None) -> None:
        self._store = store
        self._audit = audit
        self.is_draining = False

    async def send(self, request: Request) -> Response:
        """The answer, as JSON."""
        context = gateway_context(request)
        if context.endpoint == "health":
            if request.url.partition("?")[0] == READY:
                return await self._readiness(request)
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

    async def _readiness(self, request: Request) -> Response:
        why = await self.obstacle()
        return json_answer(request, 503 if why else 200, {"status": why or "ready"})

    async def obstacle(self) -> str:
        """Why the gateway could not open things now; "" where it could."""
        if self.is_draining:
            return "draining"
        try:
            await self._store.check()
        except StoreMoved:
            return "the store has moved"
        except StoreError:
            return "the store fails"
        return "" if self._audit is None or self._audit.is_writable() else "the audit cannot be written"

    async def close(self) -> None:
        """Do nothing: the store is its owner's to close."""
