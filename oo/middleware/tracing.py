"""Tracing: a span a call, by OpenTelemetry's conventions, in the clients and in a gateway alike."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from .._core.pipeline import CallNext
from .._http.body import Body, Outcome, remaining_of
from .._http.request import TOKEN, Request, without_tokens
from .._http.response import ByteStream, Response
from .._http.urls import unescaped
from .genai import GenAI

if TYPE_CHECKING:
    from opentelemetry.context import Context as TraceContext
    from opentelemetry.trace import Span, TracerProvider


class Tracing:
    """Makes a span of each call, and carries its `traceparent` on (W3C Trace Context).

    In a client it is a span of the kind CLIENT below the current one; in a gateway one of the kind SERVER below the
    caller's. It has the attributes of HTTP and, where a model is called, of GenAI: which model, and the tokens in and
    out where the answer tells. Each attempt is an event of it. There is no token, value, query or body in it.
    `tracer_provider` is the global one unless given. Needs `double-o[otel]`.

    Example:
        oo.Client(middleware=[oo.Tracing(), *oo.default_middleware(retries=3)])
    """

    def __init__(self, tracer_provider: TracerProvider | None = None) -> None:
        from opentelemetry import trace
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        from .._version import __version__

        self._trace = trace
        self._tracer = trace.get_tracer("double-o", __version__, tracer_provider)
        self._propagator = TraceContextTextMapPropagator()

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        began = time.time_ns()
        serves = request.context.side == "server"
        if serves and request.operation == "health":
            return await call_next(request)  # somebody asks every few seconds
        genai = GenAI.of(request)
        span = self._begin(request, serves, genai, began)
        if genai is not None and span.is_recording() and isinstance(request.body, Body):
            request = request.replace(body=_WatchedBody(request.body, genai.sent))
        try:
            with self._trace.use_span(span, end_on_exit=False, record_exception=False, set_status_on_exception=False):
                response = await call_next(self._carrying(request, span))
        except BaseException as error:  # what is cancelled has its span too
            status, reason = getattr(error, "status", None), getattr(error, "reason", None)
            self._end(span, request, began, status, str(reason or status or type(error).__name__), genai)
            raise
        failed = response.status >= (500 if serves else 400)
        kind = str(response.status) if failed else None
        if response.stream is None:
            if genai is not None and span.is_recording():
                span.set_attributes(genai.answered(response.headers, response.body))
            self._end(span, request, began, response.status, kind, genai)
            return response
        return self._streamed(span, request, began, response, genai)

    def _begin(self, request: Request, serves: bool, genai: GenAI | None, began: int) -> Span:
        kinds = self._trace.SpanKind
        attributes: dict[str, Any] = {"http.request.method": request.method, "oo.operation": request.operation}
        parent: TraceContext | None = None
        if serves:
            fields = {name: value for name in _FIELDS if (value := request.headers.get(name)) is not None}
            parent = self._propagator.extract(fields)
        else:
            where = urlsplit(request.base_url or request.url)
            attributes["server.address"] = where.hostname or where.netloc
            if where.port is not None:
                attributes["server.port"] = where.port
            attributes["url.full"] = request.base_url + _path(request)
        name = f"{request.method} {_PLACES.get(request.operation, '')}" if serves else request.method
        if genai is not None:
            attributes.update(genai.asked)
            name = genai.name
        kind = kinds.SERVER if serves else kinds.CLIENT
        return self._tracer.start_span(name.strip(), parent, kind, attributes, start_time=began)

    def _carrying(self, request: Request, span: Span) -> Request:
        if not span.get_span_context().is_valid:
            return request  # no SDK is there: what came with the call goes on as it is
        fields: dict[str, str] = {}
        self._propagator.inject(fields, self._trace.set_span_in_context(span))
        for name, value in fields.items():
            request = request.with_header(name, value)
        return request

    def _streamed(self, span: Span, request: Request, began: int, response: Response, genai: GenAI | None) -> Response:
        kept = bytearray()

        def ended(outcome: Outcome) -> None:
            if kept and genai is not None and len(kept) < _MOST:
                span.set_attributes(genai.answered(response.headers, bytes(kept)))
            if kept.rstrip().endswith(b"[DONE]"):
                outcome = "complete"  # there is nothing behind it that a client would read
            failed = response.status >= (500 if request.context.side == "server" else 400)
            kind = outcome if outcome != "complete" else str(response.status) if failed else None
            self._end(span, request, began, response.status, kind, genai)

        if genai is not None and span.is_recording() and response.stream is not None:
            response = response.replace(stream=_watched(response.stream, kept))
        return response.on_end(ended)

    def _end(
        self, span: Span, request: Request, began: int, status: int | None, kind: str | None, genai: GenAI | None
    ) -> None:
        context = request.context
        if span.is_recording():
            if genai is not None and genai.sent:  # its body came in pieces
                genai.was_sent()
                span.update_name(genai.name)
                span.set_attributes(genai.asked)
            if status is not None:
                span.set_attribute("http.response.status_code", status)
            if kind is not None:
                span.set_attribute("error.type", kind)
                span.set_status(self._trace.StatusCode.ERROR)
            if context.side == "server":
                span.set_attributes(_of_gateway(request))
            elif context.cache != "miss":
                span.set_attribute("oo.cache", context.cache)
            attempt = 0
            for what, seconds in context.timeline:
                attempt += what == "attempt"
                known: dict[str, Any] = {"http.request.resend_count": attempt - 1}
                if what != "attempt":
                    known["oo.outcome"] = str(what)
                name = "attempt" if what == "attempt" else "attempt ended"
                span.add_event(name, known, began + int(seconds * 1e9))
        span.end()


_FIELDS = ("traceparent", "tracestate")
_MOST = 1 << 20  # bytes of an answer that are kept until its end, to read how many tokens it took
_PLACES = {"secret": "/api/secret", "env": "/api/env", "proxy": "/api/proxy/{path}", "health": "/health"}


def _path(request: Request) -> str:
    """The path below the base URL without the query, and without a token in it, in whatever spelling."""
    path = request.path
    plain = unescaped(path)
    return without_tokens(plain) if TOKEN.search(plain) else path


def _of_gateway(request: Request) -> dict[str, Any]:
    """What a gateway knows of a call. A stranger's path is not told: it may spell a token."""
    context: Any = request.context
    known: dict[str, Any] = {"http.route": _PLACES.get(request.operation, ""), "url.scheme": context.scheme}
    if context.token_id is not None:
        known["url.path"], known["oo.token_id"] = _path(request), context.token_id
    if context.route is not None:
        known["oo.route"] = context.route.name
    return known


class _WatchedBody(Body):
    """A body of which the beginning is kept."""

    def __init__(self, body: Body, kept: bytearray) -> None:
        super().__init__(self._read, length=body.length, abort=body.abort)
        self._body = body
        self._kept = kept

    @property
    def replayable(self) -> bool:
        return self._body.replayable

    def here(self) -> bytes | None:
        found = self._body.here()
        if found is not None:
            self.begun = True
            _keep(self._kept, found)
            self._end("complete")
        return found

    async def _read(self) -> AsyncIterator[bytes]:
        self._kept.clear()
        async for piece in self._body:
            _keep(self._kept, piece)
            yield piece


def _keep(kept: bytearray, piece: bytes) -> None:
    if len(kept) < _MOST:
        kept += piece[: _MOST - len(kept)]


def _watched(stream: ByteStream, kept: bytearray) -> Body:
    async def pieces() -> Any:
        async for piece in stream:
            _keep(kept, piece)
            body.remaining = remaining_of(stream)
            yield piece

    body = Body.wrapping(stream, pieces())
    return body
