"""Turns every error of a call into a response."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator

from ..._core.pipeline import CallNext
from ..._http.body import Body, remaining_of
from ..._http.request import Request
from ..._http.response import ByteStream, Response
from ..._plugins import plugins
from ...exceptions import DoubleOError
from ..answers import json_answer
from ..context import gateway_context
from ..endpoints import PREFIX
from ..errors import GatewayError, StoreMoved, StoreUnavailable, Unauthorized, UpstreamFailed
from ..refusals import refusal
from ..throttled_log import ThrottledLog

logger = logging.getLogger("oo.gateway")

_UNAVAILABLE = GatewayError(503, "the store does not answer at the moment", "unavailable", {"Retry-After": "1"})
_MOVED = GatewayError(
    503,
    "the store has moved: whoever keeps this gateway starts it with the new place",
    "unavailable",
    {"Retry-After": "1"},
)
_HERE = os.path.dirname(os.path.dirname(__file__))
"""The gateway's own code."""


class ErrorResponses:
    """Answers a GatewayError with its status and message, and any other failure with a 500 that quotes nothing.

    A streamed response, but for a WebSocket's or a tunnel's, is passed on when its first piece has come, so that one
    which breaks off before is a 502 or a 504. A ConnectionError is the caller's own, who gets nothing any more.
    """

    def __init__(self) -> None:
        self._errors = ThrottledLog()

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        try:
            response = await call_next(request)
            is_opened = response.status < 200 or gateway_context(request).endpoint == "tunnel"
            if response.stream is None or is_opened:
                return response
            return await _begun(response, response.stream)
        except GatewayError as error:
            return error_response(request, error)
        except DoubleOError as error:
            return error_response(request, UpstreamFailed("the call failed", error))
        except StoreMoved as error:
            self._errors.say(str(error))  # its place is for who keeps the gateway alone
            return error_response(request, _MOVED)
        except StoreUnavailable:
            return error_response(request, _UNAVAILABLE)
        except ConnectionError:
            raise
        except Exception as error:
            return failure_response(request, error)


def error_response(request: Request, error: GatewayError) -> Response:
    """The answer that an error is."""
    context = gateway_context(request)
    if isinstance(error, Unauthorized) and context.destination is not None:
        # A 401 would have the program ask its user for the API's own credentials.
        context.is_last, error = True, GatewayError(403, error.message, error.outcome)
    context.outcome = error.outcome
    # What is malformed is nobody's call, and answered in the shape of where it was sent all the same.
    is_proxied = context.malformed is not None and request.url.startswith(PREFIX)
    endpoint = "proxy" if is_proxied else context.endpoint
    return json_answer(request, error.status, refusal(error, endpoint), error.headers)


def failure_response(request: Request, error: Exception) -> Response:
    """The answer to what should not have happened, which is logged."""
    # Neither the caller nor the log gets the error's text, which may quote the request or the vault.
    note = plugins.blamed(error.__traceback__, lambda code: code.co_filename.startswith(_HERE))
    what = f"{type(error).__name__}, {note}" if note else type(error).__name__
    logger.error("request %s failed: %s", request.context.id, what)
    return error_response(request, GatewayError(500, "the gateway failed", "failed"))


async def _begun(response: Response, stream: ByteStream) -> Response:
    pieces = aiter(stream)
    try:
        first = await anext(pieces, None)
    except DoubleOError as error:
        raise UpstreamFailed("the upstream's answer broke off", error) from None
    if first is None:
        return response.replace(stream=None)

    async def rest(first: bytes) -> AsyncIterator[bytes]:
        yield first
        async for piece in pieces:
            body.remaining = remaining_of(stream)
            yield piece

    body = Body.wrapping(stream, rest(first))
    return response.replace(stream=body)
