"""Hides the secrets of a request in its answer, whatever the upstream echoes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterable

from ..._core.masking import Mask, StreamMask
from ..._core.pipeline import CallNext
from ..._http.headers import Headers
from ..._http.request import Request
from ..._http.response import ByteStream, Response
from ...exceptions import DoubleOError
from ..models import Route

_HIDDEN = "hidden"


class _Hidden:
    """The values to hide, in a request's extensions. An object of its own, so that the extensions' repr has none."""

    def __init__(self) -> None:
        self.values: set[str] = set()


def hide(request: Request, values: Iterable[str]) -> None:
    """Have the MaskResponse around this call hide some values; RuntimeError if there is none."""
    hidden: _Hidden | None = request.extensions.get(_HIDDEN)
    if hidden is None:
        raise RuntimeError("no MaskResponse encloses this middleware")
    hidden.values.update(values)


class MaskResponse:
    """Masks what was given to `hide` in the headers and the body of the answer. It must enclose every middleware that
    adds a secret to the request."""

    def __init__(self) -> None:
        # The last one of each route, since making one costs more than using it.
        self._masks: dict[str, tuple[set[str], Mask]] = {}

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        hidden: _Hidden = request.extensions.setdefault(_HIDDEN, _Hidden())
        response = await call_next(request)
        if response.status < 200:
            response.abort()
            raise DoubleOError("it switched to another protocol, unasked", reason="protocol")
        mask, headers = self._mask(request, hidden.values), response.headers
        # Most headers hold nothing to hide, which one look at all of them together tells.
        together = "\n".join([text for pair in headers.pairs() for text in pair])
        if mask.text(together) != together:
            headers = Headers([(mask.text(name), mask.text(value)) for name, value in headers.pairs()])
        if response.stream is None:
            return response.replace(headers=headers, body=mask.data(response.body))
        return response.replace(headers=headers, stream=MaskedStream(response.stream, mask))

    def _mask(self, request: Request, values: set[str]) -> Mask:
        route: Route = request.extensions["route"]
        kept = self._masks.get(route.name)
        if kept is None or kept[0] != values:
            kept = self._masks[route.name] = (set(values), Mask(values))
        return kept[1]


class MaskedStream:
    """A body as it comes, masked. `remaining` is the number of the upstream's bytes that are still to come, None while
    that isn't known; once it is 0, the piece that came last was the last."""

    def __init__(self, stream: ByteStream, mask: Mask) -> None:
        self.remaining: int | None = getattr(stream, "remaining", getattr(stream, "length", None))
        self._stream = stream
        self._mask = StreamMask(mask)
        self._pieces = self._masked()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._pieces

    async def aclose(self) -> None:
        """Leave the rest."""
        await self._pieces.aclose()
        await self._stream.aclose()

    async def _masked(self) -> AsyncGenerator[bytes, None]:
        async for piece in self._stream:
            masked = self._mask.feed(piece)
            if self.remaining is not None:
                self.remaining -= len(piece)
                if self.remaining == 0:
                    masked += self._mask.finish()
            yield masked
        if rest := self._mask.finish():
            self.remaining = 0
            yield rest
