"""Turns every error of a call into a response."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator

from ..._core.pipeline import CallNext
from ..._http.body import Body
from ..._http.request import Request
from ..._http.response import ByteStream, Response
from ...exceptions import DoubleOError
from ..answers import json_answer
from ..context import gateway_context
from ..errors import GatewayError, StoreUnavailable, UpstreamFailed

logger = logging.getLogger("oo.gateway")

_UNAVAILABLE = GatewayError(503, "the vault cannot be read at the moment", "store unavailable", {"Retry-After": "5"})


class ErrorResponses:
    """Answers a GatewayError with its status and message, and any other failure with a 500 that quotes nothing.

    A streamed response, but for a WebSocket's, is passed on when its first piece has come, so that one which breaks off
    before is a 502 or a 504. A ConnectionError is the caller's own, who gets nothing any more.
    """

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        try:
            response = await call_next(request)
            if response.stream is None or response.status < 200:
                return response
            return await _begun(response, response.stream)
        except GatewayError as error:
            return error_response(request, error)
        except DoubleOError as error:
            return error_response(request, UpstreamFailed("the call failed", error))
        except StoreUnavailable:
            return error_response(request, _UNAVAILABLE)
        except ConnectionError:
            raise
        except Exception as error:
            return failure_response(request, error)


def error_response(request: Request, error: GatewayError) -> Response:
    """The answer that an error is."""
    gateway_context(request).outcome = error.outcome
    return json_answer(request, error.status, {"error": error.message}, error.headers)


def failure_response(request: Request, error: Exception) -> Response:
    """The answer to what should not have happened, which is logged."""
    # Neither the caller nor the log gets the error's text, which may quote the request or the vault.
    logger.error("request %s failed: %s", request.context.id, type(error).__name__)
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
            body.remaining = getattr(stream, "remaining", None)
            yield piece

    body = Body(rest(first), abort=getattr(stream, "abort", None))
    body.remaining = getattr(stream, "remaining", None)
    return response.replace(stream=body)
