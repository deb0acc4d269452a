"""Logs a line for each call, for `oo serve --access-log`."""

from __future__ import annotations

import json
import logging
import time

from ..._core.pipeline import CallNext
from ..._http.body import Outcome
from ..._http.request import Request
from ..._http.response import Response
from ..audit_lines import PATH, place, shown
from ..context import GatewayContext, gateway_context
from ..errors import CALLER_LEFT, unanswered_status
from ..logs import ACCESS, FIELDS

logger = logging.getLogger(ACCESS)


class AccessLog:
    """Logs who called for what, and what came of it, once the answer has ended: no query, no token, no value."""

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        context = gateway_context(request)
        try:
            response = await call_next(request)
        except BaseException as error:  # cancelled too, as in the audit
            _log(request, context, unanswered_status(error), context.bytes_out)
            raise
        if response.stream is None:
            _log(request, context, response.status, len(response.body))
            return response

        def ended(end: Outcome) -> None:
            _log(request, context, CALLER_LEFT if end == "left" else response.status, context.bytes_out)

        return response.on_end(ended)


def _log(request: Request, context: GatewayContext, status: int, size: int) -> None:
    path = request.url.partition("?")[0]
    fields = {
        "request_id": context.id,
        "peer": context.forwarded_for or context.peer,
        "method": shown(request.method, 32),
        # As in the audit: a stranger may have written a token into it.
        "path": shown(path, PATH) if context.token_id is not None else place(path),
        "status": status,
        "bytes": size,
        "ms": round((time.monotonic() - context.started) * 1000, 1),
        "token_id": context.token_id,
        "route": None if context.route is None else context.route.name,
    }
    logger.info("%s", " ".join(json.dumps(value) for value in fields.values()), extra={FIELDS: fields})
