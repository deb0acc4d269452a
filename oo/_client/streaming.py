"""Streams as callers hold them: one row of async generators over the answer's bytes, driven in either world."""

from __future__ import annotations

import warnings
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from .._core.errors import stream_error, to_call_error, with_operation
from .._core.pipeline import iterate_sync, run_sync
from .._http.headers import Headers
from .._http.request import Request
from .._http.response import Response, parse_json
from .._http.sse import EventDecoder, LineDecoder, ServerEvent
from .._plugins import name_plugin
from ..exceptions import DoubleOError

if TYPE_CHECKING:
    from typing_extensions import Self

T = TypeVar("T")


class _Ends:
    """Which choices of a chat have said why they finished."""

    def __init__(self) -> None:
        self._finished: dict[object, bool] = {}

    def note(self, chunk: dict[str, Any]) -> dict[str, Any]:
        """Take note of a chunk; gives it back."""
        choices = chunk.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict):
                index = str(choice.get("index") or 0)
                self._finished[index] = self._finished.get(index, False) or bool(choice.get("finish_reason"))
        return chunk

    @property
    def finished(self) -> bool:
        """Whether there was one, and all have."""
        return bool(self._finished) and all(self._finished.values())


def _object(data: str) -> dict[str, Any] | None:
    try:
        value = parse_json(data.encode())
    except DoubleOError:
        return None
    return value if isinstance(value, dict) else None


class BaseStream:
    """A streamed call, and its response once that has come."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._response: Response | None = None

    @property
    def response(self) -> Response:
        """The whole Response; RuntimeError before the block was entered."""
        if self._response is None:
            raise RuntimeError("the stream is not open: use it as `with client.stream(...) as response:`")
        return self._response

    @property
    def status(self) -> int:
        """The HTTP status, a 2xx: any other was raised as an error."""
        return self.response.status

    @property
    def headers(self) -> Headers:
        """The answer's headers."""
        return self.response.headers

    async def _bytes(self) -> AsyncGenerator[bytes, None]:
        response = self.response
        if response.stream is None:
            # Some middleware has read it, or answered by itself.
            if response.body:
                yield response.body
            return
        try:
            async for piece in response.stream:
                yield piece
            return
        except Exception as error:
            failure = to_call_error(error, self._request)
            name_plugin(failure or error, error.__traceback__)
            if failure is None:
                raise
        finally:
            await self._close()
        try:
            raise failure
        finally:
            del failure  # as ErrorMapping does

    async def _decode(self, feed: Callable[[bytes], Iterator[T]]) -> AsyncGenerator[T, None]:
        pieces = self._bytes()
        try:
            async for piece in pieces:
                for item in feed(piece):
                    yield item
            return
        except DoubleOError as error:
            failure = with_operation(error, self._request)
        finally:
            await pieces.aclose()
        try:
            raise failure
        finally:
            del failure  # as ErrorMapping does

    async def _lines(self) -> AsyncGenerator[str, None]:
        lines = LineDecoder(self._request.max_body_bytes)
        async for line in self._decode(lines.feed):
            yield line.decode("utf-8", "replace")
        if rest := lines.finish():
            yield rest.decode("utf-8", "replace")

    def _events(self) -> AsyncGenerator[ServerEvent, None]:
        return self._decode(EventDecoder(self._request.max_body_bytes).feed)

    async def _chunks(self) -> AsyncGenerator[dict[str, Any], None]:
        decoder, ends = EventDecoder(self._request.max_body_bytes), _Ends()
        events = self._decode(decoder.feed)
        try:
            async for event in events:
                if event.data.strip() == "[DONE]":
                    return
                yield ends.note(self._chunk(event))
        finally:
            await events.aclose()
        # Some servers end without the mark, or leave out the blank line behind their last event.
        last = decoder.finish()
        if last is not None and last.data.strip() == "[DONE]":
            return
        whole = last is None or _object(last.data) is not None
        if last is not None and whole:
            yield ends.note(self._chunk(last))
        if not (whole and ends.finished):
            broken = DoubleOError("the stream ended before [DONE] and before a finish_reason", reason="connection")
            raise with_operation(broken, self._request)

    def _chunk(self, event: ServerEvent) -> dict[str, Any]:
        chunk = _object(event.data)
        if event.event == "error" or (chunk and chunk.get("error")):
            raise stream_error(self.response, event.data)
        if chunk is None:
            raise with_operation(
                DoubleOError("a chunk of the stream is not a JSON object", reason="protocol"), self._request
            )
        return chunk

    async def _close(self) -> None:
        response = self._response
        if response is None or response.stream is None:
            return
        failure: DoubleOError | None = None
        try:
            await response.stream.aclose()
        except Exception as error:
            if (failure := to_call_error(error, self._request)) is None:
                raise
        finally:
            response.abort()
        if failure is not None:
            try:
                raise failure
            finally:
                del failure  # as ErrorMapping does

    def __del__(self) -> None:
        response = self._response
        if response is not None and response.abort():
            text = f"the stream of {self._request!r} was dropped unclosed"
            warnings.warn(text, ResourceWarning, stacklevel=2, source=self)


class Stream(BaseStream):
    """A streamed call of the blocking client: `with client.stream(...) as response:`.

    `status` and `headers` are there when the block is entered; one of the iterators reads the body, once. Each raises
    the operation's error where the body breaks off, stalls for `timeout` seconds, or passes the deadline.
    """

    def __init__(self, request: Request, send: Callable[[Request], Response]) -> None:
        super().__init__(request)
        self._send = send

    def iter_bytes(self) -> Iterator[bytes]:
        """The body's bytes, decompressed, in pieces as they come."""
        return iterate_sync(self._bytes())

    def iter_lines(self) -> Iterator[str]:
        """The body's lines, without their ends (LF, CRLF or CR)."""
        return iterate_sync(self._lines())

    def iter_events(self) -> Iterator[ServerEvent]:
        """The body's server-sent events."""
        return iterate_sync(self._events())

    def close(self) -> None:
        """Leave the rest: what was not read to its end closes its connection."""
        run_sync(self._close())

    def __enter__(self) -> Self:
        self._response = self._send(self._request)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class Chunks(Stream):
    """The chunks of a chat completion, each a dict, as they come. It may be left early with `close()` or a `with`."""

    def __init__(self, request: Request, send: Callable[[Request], Response]) -> None:
        super().__init__(request, send)
        self.__enter__()
        self._iterator = iterate_sync(self._chunks())

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self

    def __next__(self) -> dict[str, Any]:
        return next(self._iterator)

    def __enter__(self) -> Self:
        return self if self._response is not None else super().__enter__()


class AsyncStream(BaseStream):
    """A streamed call of the asyncio client: `async with client.stream(...) as response:`. As `Stream`, awaited."""

    def __init__(self, request: Request, send: Callable[[Request], Awaitable[Response]]) -> None:
        super().__init__(request)
        self._send = send

    def iter_bytes(self) -> AsyncIterator[bytes]:
        """As `Stream.iter_bytes`."""
        return self._bytes()

    def iter_lines(self) -> AsyncIterator[str]:
        """As `Stream.iter_lines`."""
        return self._lines()

    def iter_events(self) -> AsyncIterator[ServerEvent]:
        """As `Stream.iter_events`."""
        return self._events()

    async def close(self) -> None:
        """As `Stream.close`."""
        await self._close()

    async def __aenter__(self) -> Self:
        if self._response is None:
            self._response = await self._send(self._request)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()


class AsyncChunks(AsyncStream):
    """As `Chunks`, for `async for`."""

    def __init__(self, request: Request, send: Callable[[Request], Awaitable[Response]]) -> None:
        super().__init__(request, send)
        self._iterator = self._chunks()

    def __aiter__(self) -> AsyncIterator[dict[str, Any]]:
        return self

    async def __anext__(self) -> dict[str, Any]:
        return await self._iterator.__anext__()
