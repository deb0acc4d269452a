"""Reading a caller's body, piece by piece, within a limit of time."""

from __future__ import annotations

from collections.abc import AsyncIterator

from aiohttp import HttpVersion11

from ..._http.body import Body
from ..context import GatewayContext
from ..errors import GatewayError
from ..http_server import web
from ..http_server._aiohttp_patches import received_size, send_continue, stop_reading
from ..http_server.data_rate import MinDataRate


class CallerBody(Body):
    """A caller's body, read when it is asked for, and no faster than it is taken.

    GatewayError where it is badly framed, or comes too slowly. Its bytes count in the context as they come.
    """

    def __init__(self, request: web.BaseRequest, context: GatewayContext) -> None:
        super().__init__(_read(request, context), length=request.content_length)
        self._request = request
        self._context = context

    def here(self) -> bytes | None:
        """The body of a request that has come whole."""
        size = received_size(self._request)
        if self.begun or size is None:
            return None
        _check(self._request)
        self.begun = True
        self._context.bytes_in = size
        body = self._request.content.read_nowait()
        self._end("complete")
        return body


async def _read(request: web.BaseRequest, context: GatewayContext) -> AsyncIterator[bytes]:
    if _check(request):
        await send_continue(request)
    slow = False

    def give_up() -> None:
        nonlocal slow
        slow = True
        stop_reading(request)

    rate = MinDataRate(lambda: context.bytes_in, give_up)
    try:
        async for piece in request.content.iter_any():
            context.bytes_in += len(piece)
            rate.pause()  # how fast it is taken is not the caller's to say
            yield piece
            rate.resume()
    except web.RequestPayloadError:
        raise GatewayError(400, "the request's body is not framed as HTTP has it", "bad request") from None
    finally:
        rate.stop()
    if slow:
        raise GatewayError(408, "the request's body comes too slowly", "too slow", {"Connection": "close"})


def _check(request: web.BaseRequest) -> bool:
    """Whether the caller waits for 100 Continue; GatewayError for what cannot be undone or expected."""
    if request.headers.get("Transfer-Encoding", "chunked").lower() != "chunked":
        raise GatewayError(501, "no transfer coding but chunked is undone here", "bad request")
    if request.version < HttpVersion11 or "Expect" not in request.headers:
        return False
    if request.headers["Expect"].lower() != "100-continue":
        raise GatewayError(417, "only 100-continue can be expected", "bad request")
    return received_size(request) is None  # RFC 9110, 10.1.1: whoever has the body need not ask for it
