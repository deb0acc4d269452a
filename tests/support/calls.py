"""Calls of the gateway's chain, each middleware by itself."""

from __future__ import annotations

from typing import Any

import oo
from oo._core.io import LoopIO
from oo._core.pipeline import Middleware, Pipeline
from oo._http.body import Body
from oo.gateway.context import GatewayContext
from oo.gateway.models import Route
from oo.testing import MockTransport


def call(
    method: str = "GET",
    url: str = "/api/proxy/v1/x",
    *headers: tuple[str, str],
    body: bytes | Body | None = None,
    route: Route | None = None,
    **context: Any,
) -> oo.Request:
    """A call as the front makes it; `context` holds what earlier steps have found."""
    made = GatewayContext()
    made.endpoint = context.pop("endpoint", "proxy")
    made.route = route
    for name, value in context.items():
        setattr(made, name, value)
    return oo.Request(method, url, oo.Headers(headers), body, stream_response=True, context=made)


def unauthorized(path: str, reason: str = "") -> dict[str, Any]:
    """The body of a 401 for that path: OpenAI's shape below /api/proxy/, elsewhere the one of the 0.2 series."""
    message = f"the token was not accepted{reason}"
    if not path.startswith("/api/proxy/"):
        return {"error": message}
    return {"error": {"message": message, "type": "authentication_error", "code": "invalid_api_key"}}


async def through(middleware: Middleware, request: oo.Request, *script: Any) -> tuple[oo.Response, list[oo.Request]]:
    """The answer of a chain of one, and what came to its end. Its transport answers from the script."""
    transport = MockTransport(script or [b"end"])
    return await Pipeline([middleware], transport, LoopIO()).handle(request), transport.requests
