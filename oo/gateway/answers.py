"""What the gateway answers by itself, as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping

from .._core.errors import SOURCE
from .._http.headers import Headers
from .._http.request import Request
from .._http.response import JSON, Response

SERVER = ("Server", "double-o")
"""The header that names the gateway (RFC 9110, 10.2.4), without its version and aiohttp's."""


_JSON = ("Content-Type", "application/json")


def json_answer(
    request: Request, status: int, data: Mapping[str, JSON], headers: Mapping[str, str] | None = None
) -> Response:
    """A response that nobody stores on its way."""
    pairs = [*(headers or {}).items(), SERVER, ("Cache-Control", "no-store"), (SOURCE, "gateway"), _JSON]
    return Response(status, Headers(pairs), json.dumps(data).encode(), request=request)
