"""Hides the secrets of a request in its answer, whatever the upstream echoes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable

from ..._core.masking import Mask, StreamMask
from ..._core.pipeline import CallNext
from ..._http.body import Body
from ..._http.headers import Headers
from ..._http.request import Request
from ..._http.response import ByteStream, Response
from ...exceptions import DoubleOError
from ..context import gateway_context, of_route


def hide(request: Request, values: Iterable[str]) -> None:
    """Have the MaskResponse around this call hide some values; RuntimeError if there is none."""
    hidden = gateway_context(request).hidden
    if hidden is None:
        raise RuntimeError("no MaskResponse encloses this middleware")
    hidden.update(values)


class MaskResponse:
    """Masks what was given to `hide` in the headers and the body of the answer. It must enclose every middleware that
    adds a secret to the request."""

    def __init__(self) -> None:
        # The last one of each route, since making one costs more than using it.
        self._masks: dict[str, tuple[set[str], Mask]] = {}

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        context = gateway_context(request)
        hidden = context.hidden = set() if context.hidden is None else context.hidden
        response = await call_next(request)
        if response.status < 200:
            response.abort()
            raise DoubleOError("it switched to another protocol, unasked", reason="protocol")
        mask, headers = self._mask(request, hidden), response.headers
        # Most headers hold nothing to hide, which one look at all of them together tells.
        together = "\n".join([text for pair in headers.pairs() for text in pair])
        if mask.text(together) != together:
            headers = Headers([(mask.text(name), mask.text(value)) for name, value in headers.pairs()])
        if response.stream is None:
            return response.replace(headers=headers, body=mask.data(response.body))
        return response.replace(headers=headers, stream=masked(response.stream, mask))

    def _mask(self, request: Request, values: set[str]) -> Mask:
        route = of_route(request)
        kept = self._masks.get(route.name)
        if kept is None or kept[0] != values:
            kept = self._masks[route.name] = (set(values), Mask(values))
        return kept[1]


def masked(stream: ByteStream, mask: Mask) -> Body:
    """A body as it comes, masked. Its `remaining` is the number of the upstream's bytes that are still to come, None
    while that is not known. Once it is 0, the piece that came last was the last."""
    hiding = StreamMask(mask)

    async def pieces() -> AsyncIterator[bytes]:
        async for piece in stream:
            body.remaining = getattr(stream, "remaining", None)
            out = hiding.feed(piece)
            yield out + hiding.finish() if body.remaining == 0 else out
        if rest := hiding.finish():
            body.remaining = 0
            yield rest

    body = Body(pieces(), abort=getattr(stream, "abort", None))
    body.remaining = getattr(stream, "remaining", None)
    return body
