"""Asks for the whole where a caller's Range would cut what the mask sees."""

from __future__ import annotations

import re

from ..._core.pipeline import CallNext
from ..._http.body import Body
from ..._http.headers import Headers
from ..._http.request import Request
from ..._http.response import Response
from ...exceptions import DoubleOError
from ..context import gateway_context

_RANGED = frozenset({"range", "if-range"})
_BINARY = re.compile(
    # Not the pictures and the lists of pieces of music that are written in text.
    r"image/(?!svg|x-(xbitmap|xpixmap|portable))|audio/(?!(x-)?(mpegurl|scpls))|video/|font/"
    r"|application/(octet-stream|pdf|zip|gzip|zstd|wasm|x-tar)(?![\w+.-])",
    re.IGNORECASE,
)


class WholeAnswers:
    """Sends a request again without its Range where the answer is a part (206) of what may be text.

    A caller who chooses where a text is cut reads a secret in halves, none of which the mask would know. What is
    binary, routes that inject no secret, and routes that pass Range on (`pass_headers`) keep their parts.
    """

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        route = gateway_context(request).route
        if route is None or not route.secrets or route.passes("range"):
            return await call_next(request)
        if "Range" not in request.headers:
            response = await call_next(request)
            if _is_cut(response):  # by a header that only the upstream knows
                response.abort()
                raise DoubleOError("it sent a part that was not asked for", reason="protocol")
            return response
        body = request.body
        if request.method != "GET" or (isinstance(body, Body) and not body.replayable):
            # Elsewhere it has no meaning (RFC 9110, 14.2); and what cannot be sent again is not.
            return await call_next(_whole(request))
        response = await call_next(request)
        if not _is_cut(response):
            return response
        response.abort()
        return await call_next(_whole(request))


def _is_cut(response: Response) -> bool:
    """Whether an answer is a part of what may be text."""
    return response.status == 206 and not _BINARY.match(response.headers.get("Content-Type", ""))


def _whole(request: Request) -> Request:
    pairs = request.headers.pairs()
    return request.replace(headers=Headers([pair for pair in pairs if pair[0].lower() not in _RANGED]))
