"""BearerAuth: the token, as a header (RFC 6750, 2.1)."""

from __future__ import annotations

from .._core.pipeline import CallNext
from .._http.request import Request
from .._http.response import Response


class BearerAuth:
    """Sends the request's token as `Authorization: Bearer ...`; a request without one goes as it is."""

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        token = request.context.token
        if token:
            request = request.with_header("Authorization", f"Bearer {token}")
        return await call_next(request)
