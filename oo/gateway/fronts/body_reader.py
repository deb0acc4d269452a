"""Reading a caller's body, within limits of size and time."""

from __future__ import annotations

from collections.abc import AsyncIterator

from aiohttp import HttpVersion11, web

from ..context import GatewayContext
from ..errors import GatewayError
from ..http_server._aiohttp_patches import received_size, send_continue, stop_reading
from ..http_server.data_rate import MinDataRate

MAX_BODY = 64 << 20
"""Bytes that a request's body may hold."""


async def body_pieces(request: web.BaseRequest, context: GatewayContext) -> AsyncIterator[bytes]:
    """The body for whoever asks for it: read whole, and then in one piece."""
    body = await read_body(request) or b""
    context.bytes_in = len(body)
    yield body


async def read_body(request: web.BaseRequest) -> bytes | None:
    """Read the whole body; None if there is none. GatewayError if it is too large, too slow or badly framed."""
    if not request.body_exists:
        return None
    if request.headers.get("Transfer-Encoding", "chunked").lower() != "chunked":
        raise GatewayError(501, "no transfer coding but chunked is undone here", "bad request")
    if (request.content_length or 0) > MAX_BODY:
        raise _too_large()
    if request.version >= HttpVersion11 and "Expect" in request.headers:
        if request.headers["Expect"].lower() != "100-continue":
            raise GatewayError(417, "only 100-continue can be expected", "bad request")
        await send_continue(request)
    received = received_size(request)
    if received is not None and received <= MAX_BODY:
        return request.content.read_nowait()
    body = bytearray()
    slow = False

    def give_up() -> None:
        nonlocal slow
        slow = True
        stop_reading(request)

    rate = MinDataRate(lambda: len(body), give_up)
    try:
        async for chunk in request.content.iter_any():
            body += chunk
            if len(body) > MAX_BODY:
                raise _too_large()
    except web.RequestPayloadError:
        raise GatewayError(400, "the request's body is not framed as HTTP has it", "bad request") from None
    finally:
        rate.stop()
    if slow:
        raise GatewayError(408, "the request's body comes too slowly", "too slow", {"Connection": "close"})
    return bytes(body)


def _too_large() -> GatewayError:
    return GatewayError(413, f"the request's body is larger than {MAX_BODY} bytes", "too large")
