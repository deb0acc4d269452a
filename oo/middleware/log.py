"""Logging: one line a call, on the logger `oo`."""

from __future__ import annotations

import logging

from .._core.pipeline import CallNext
from .._http.request import Request
from .._http.response import Response
from ..exceptions import DoubleOError

logger = logging.getLogger("oo")


class Logging:
    """Logs operation, path, status, milliseconds, attempts, and hit or miss of each call: INFO where it succeeded,
    WARNING where it failed; at DEBUG also a line for each attempt. Never a token, a secret, a body or a query."""

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        began = call_next.io.now()
        outcome, level = "failed", logging.WARNING
        try:
            response = await call_next(request)
            outcome, level = str(response.status), logging.INFO
            return response
        except DoubleOError as error:
            outcome = str(error.status or error.reason)
            raise
        finally:
            if logger.isEnabledFor(level):
                _write(level, request, outcome, (call_next.io.now() - began) * 1000)


def _write(level: int, request: Request, outcome: str, ms: float) -> None:
    context = request.context
    for what, seconds in context.timeline:
        logger.debug("%s %s %s at %.1f ms", request.operation, request.path, what, seconds * 1000)
    logger.log(
        level,
        "%s %s %s %.1f ms attempts=%d %s",
        request.operation,
        request.path,
        outcome,
        ms,
        context.attempts,
        context.cache,
    )
