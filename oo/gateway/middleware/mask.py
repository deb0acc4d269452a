"""Hides the secrets of a request in its answer, whatever the upstream echoes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable

from ..._core.masking import STEP, Mask, StreamMask, steps_of, weight_of
from ..._core.pipeline import CallNext
from ..._http.body import Body, remaining_of
from ..._http.headers import FRAMING, Headers
from ..._http.message import Message
from ..._http.request import Request
from ..._http.response import ByteStream, Response
from ...exceptions import DoubleOError
from ...transports.reader import DecodedBody
from ..context import gateway_context, of_route, passes_encoding

MOST_KEPT = 1 << 20
"""Bytes of the masks of all routes that are remembered, about."""
LONG_FIELD = 1 << 10
"""Characters of a header behind which others have their turn."""
_STALL = 0.5  # seconds after which a caller who does not read may have made an upstream give up
_TURNS = 6  # of the loop between two steps: a short call is made in as many, and waits for one step alone


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
        self._kept = 0  # bytes that were added to it

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        context = gateway_context(request)
        if context.route is None:  # what answers is the store itself
            return await call_next(request)
        hidden = context.hidden = set() if context.hidden is None else context.hidden
        try:
            response = await call_next(request)
        except DoubleOError as error:
            text = str(error)
            error.args = (self._mask(request, hidden).text(text),)  # a plugin's may quote what it was given
            raise
        if response.status < 200 and not context.websocket:
            response.abort()
            raise DoubleOError("it switched to another protocol, unasked", reason="protocol")
        mask, headers = self._mask(request, hidden), response.headers
        # Most answers hold nothing to hide, which one look at all of it tells.
        fields = "\n".join(map("\n".join, headers.pairs())).encode("utf-8", "surrogatepass")
        if response.stream is None:
            whole = b"\n".join((fields, response.body))
            if weight_of(whole) <= STEP and not mask.spans(whole):
                return response
        if len(fields) > STEP or mask.spans(fields):
            try:
                headers = await masked_headers(headers, mask)
            except BaseException:
                response.abort()  # its caller has left meanwhile
                raise
        if isinstance(response.stream, DecodedBody) and passes_encoding(request):
            response.stream.keep_encoding()
            return response
        if response.stream is None:
            return response.replace(headers=headers, body=await masked_body(response.body, mask))
        if context.websocket and response.status < 200:
            return response.replace(headers=headers, stream=masked_messages(response.stream, mask))
        shows_end = any(name in response.headers for name in FRAMING)
        return response.replace(headers=headers, stream=masked(response.stream, mask, shows_end=shows_end))

    def _mask(self, request: Request, values: set[str]) -> Mask:
        route = of_route(request)
        kept = self._masks.get(route.name)
        return self._made(route.name, values) if kept is None or kept[0] != values else kept[1]

    def _made(self, route: str, values: set[str]) -> Mask:
        mask = Mask(values)
        if self._kept + mask.size > MOST_KEPT:  # values come and go, and may be many and large
            self._masks.clear()
            self._kept = 0
        if mask.size <= MOST_KEPT:
            self._masks[route] = (set(values), mask)
            self._kept += mask.size
        return mask


async def masked_headers(headers: Headers, mask: Mask) -> Headers:
    """The headers of an answer, masked, with a turn of the others behind each that is long."""
    pairs = []
    for name, value in headers.pairs():
        pairs.append((await _masked_text(name, mask), await _masked_text(value, mask)))
        if len(name) + len(value) > LONG_FIELD:
            await give_way()
    return Headers(pairs)


async def _masked_text(text: str, mask: Mask) -> str:
    data = text.encode("utf-8", "surrogatepass")
    return (await masked_body(data, mask)).decode("utf-8", "surrogatepass")


def masked(stream: ByteStream, mask: Mask, *, shows_end: bool = False) -> Body:
    """A body as it comes, masked. Its `remaining` is the number of the upstream's bytes that are still to come, None
    while that is not known. Once it is 0, the piece that came last was the last.

    Without `shows_end`, nothing tells the end of a body from a place where the upstream gave up, which a caller who
    reads nothing for long chooses. It breaks off there, and what may be the beginning of a secret is not given on:
    DoubleOError (reason "connection").
    """
    hiding = StreamMask(mask)

    async def pieces() -> AsyncIterator[bytes]:
        worked, longest = 0, 0.0  # bytes since the loop had its last turn; seconds that the caller did not read
        async for piece in stream:
            at = 0
            for step in steps_of(piece):
                at += len(step)
                if at == len(piece):
                    body.remaining = remaining_of(stream)
                out = hiding.feed(step)
                given = time.monotonic()
                yield out + hiding.finish() if body.remaining == 0 else out
                longest = max(longest, time.monotonic() - given)
                worked += weight_of(step)
                if worked >= STEP:
                    worked = 0
                    await give_way()
        if rest := hiding.finish():
            if not shows_end and longest > _STALL:
                raise DoubleOError("its caller did not read on, and it may have been cut", reason="connection")
            body.remaining = 0
            yield rest

    body = Body.wrapping(stream, pieces())
    return body


def masked_messages(stream: ByteStream, mask: Mask) -> Body:
    """The messages of a WebSocket, each masked whole. What is divided between two of them is not seen."""

    async def pieces() -> AsyncIterator[bytes]:
        async for message in stream:
            opcode = message.opcode if isinstance(message, Message) else "binary"
            yield Message(opcode, await masked_body(message, mask))

    return Body.wrapping(stream, pieces())


async def masked_body(body: bytes, mask: Mask) -> bytes:
    """A whole body, masked in steps between which others have their turn."""
    if weight_of(body) <= STEP:
        return mask.data(body)
    stream, parts = StreamMask(mask), []
    for step in steps_of(body):
        parts.append(stream.feed(step))
        await give_way()
    return b"".join([*parts, stream.finish()])


async def give_way() -> None:
    """Let the others of this loop work."""
    for _ in range(_TURNS):
        await asyncio.sleep(0)
