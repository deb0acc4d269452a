from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import oo
from oo._http.body import Body
from oo.gateway.app import Gateway
from oo.gateway.models import Route
from oo.middleware import tracing
from oo.testing import BackgroundLoop, LocalGateway, MockTransport, Streamed, VirtualClock, temporary_vault
from tests.support.certificates import self_signed
from tests.support.upstream import OpenAI

TOKEN = "oo_" + "a" * 43
CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "canary-prompt"}]}
ANSWER = {"model": "gpt-4o-2", "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4}}


class Traced:
    """A middleware, and the spans that it has made."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.middleware = oo.Tracing(self.provider)

    @property
    def spans(self) -> list[ReadableSpan]:
        return list(self.exporter.get_finished_spans())

    @property
    def span(self) -> ReadableSpan:
        (found,) = self.spans
        return found

    def chain(self, **settings: Any) -> list[Any]:
        return [self.middleware, *oo.default_middleware(**settings)]


@pytest.fixture
def traced() -> Traced:
    return Traced()


def known(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def ids(span: ReadableSpan) -> str:
    context = span.get_span_context()
    assert context is not None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}"


@pytest.mark.parametrize("blocking", [True, False])
def test_a_call_of_either_client_is_a_span_with_its_attempts(traced: Traced, blocking: bool) -> None:
    clock = VirtualClock()
    transport = MockTransport([503, ANSWER], io=clock)
    settings: dict[str, Any] = {"middleware": traced.chain(retries=1), "transport": transport}
    if blocking:
        with oo.Client("http://127.0.0.1:3001", **settings) as client:
            client.proxy("v1/chat/completions?key=canary-query", TOKEN, payload=CHAT)
    else:

        async def run() -> None:
            async with oo.AsyncClient("http://127.0.0.1:3001", **settings) as client:
                await client.proxy("v1/chat/completions?key=canary-query", TOKEN, payload=CHAT)

        asyncio.run(run())
    span = traced.span
    assert (span.name, span.kind, span.status.status_code) == (
        "chat gpt-4o",
        trace.SpanKind.CLIENT,
        trace.StatusCode.UNSET,
    )
    assert known(span) == {
        "http.request.method": "POST",
        "oo.operation": "proxy",
        "server.address": "127.0.0.1",
        "server.port": 3001,
        "url.full": "http://127.0.0.1:3001/api/proxy/v1/chat/completions",
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.response.model": "gpt-4o-2",
        "gen_ai.usage.input_tokens": 3,
        "gen_ai.usage.output_tokens": 4,
        "http.response.status_code": 200,
    }
    events = [(event.name, dict(event.attributes or {})) for event in span.events]
    assert events == [
        ("attempt", {"http.request.resend_count": 0}),
        ("attempt ended", {"http.request.resend_count": 0, "oo.outcome": "503"}),
        ("attempt", {"http.request.resend_count": 1}),
        ("attempt ended", {"http.request.resend_count": 1, "oo.outcome": "200"}),
    ]
    assert span.start_time is not None
    assert all(event.timestamp >= span.start_time for event in span.events)
    assert {request.headers["traceparent"][:-3] for request in transport.requests} == {ids(span)}
    for hidden in (TOKEN, "canary"):
        assert hidden not in span.to_json()


@pytest.mark.parametrize(
    ("answer", "kind", "status"),
    [
        (404, "status", 404),
        (oo.DoubleOError("slow", reason="timeout"), "timeout", None),
    ],
)
def test_a_failure_is_told_by_its_kind(traced: Traced, answer: Any, kind: str, status: int | None) -> None:
    client = oo.Client(middleware=traced.chain(), transport=MockTransport([answer]))
    with client, pytest.raises(oo.SecretError):
        client.get_secret(TOKEN)
    span = traced.span
    assert span.status.status_code is trace.StatusCode.ERROR
    assert (known(span)["error.type"], known(span).get("http.response.status_code")) == (kind, status)
    assert (span.name, span.events[0].name) == ("GET", "attempt")


def test_it_is_below_the_current_span_and_what_is_called_below_it(traced: Traced) -> None:
    seen: list[int] = []

    async def looks(request: oo.Request, call_next: oo.CallNext) -> oo.Response:
        seen.append(trace.get_current_span().get_span_context().span_id)
        return await call_next(request)

    tracer = trace.get_tracer("test", tracer_provider=traced.provider)
    transport = MockTransport([{"value": "s"}])
    client = oo.Client(middleware=[traced.middleware, looks, *oo.default_middleware()], transport=transport)
    with client, tracer.start_as_current_span("outer") as outer:
        client.get_secret(TOKEN)
    inner = traced.spans[0]
    assert inner.parent is not None
    assert inner.parent.span_id == outer.get_span_context().span_id
    assert seen == [inner.get_span_context().span_id]  # type: ignore[union-attr]  # it has one


def test_what_the_cache_answers_is_told(traced: Traced) -> None:
    chain = traced.chain(cache=oo.SecretCache())
    with oo.Client(middleware=chain, transport=MockTransport([{"value": "s"}])) as client:
        for _ in range(2):
            assert client.get_secret(TOKEN, cache_ttl=60) == "s"
    assert [known(span).get("oo.cache") for span in traced.spans] == [None, "hit"]


@pytest.mark.parametrize("whole", [True, False])
def test_a_stream_is_a_span_until_its_end(traced: Traced, whole: bool) -> None:
    data = b"data: " + json.dumps(ANSWER).encode() + b"\n\n"
    pieces = [b'data: {"choices": [{"delta": {"content": "canary"}}]}\n\n', data[:20], data[20:], b"data: [DONE]\n\n"]
    headers = oo.Headers({"Content-Type": "text/event-stream"})
    transport = MockTransport([Streamed(pieces, headers=headers)])
    with oo.Client(middleware=traced.chain(), transport=transport) as client:
        chunks = client.chat_completion(TOKEN, [], model="m", stream=True)
        next(iter(chunks))
        assert traced.spans == []
        if whole:
            list(chunks)
        chunks.close()
    assert known(traced.span).get("gen_ai.usage.output_tokens") == (4 if whole else None)
    assert known(traced.span).get("error.type") == (None if whole else "left")
    assert "canary" not in traced.span.to_json()


def test_a_token_in_a_path_is_not_told_in_any_spelling(traced: Traced) -> None:
    with oo.Client(middleware=traced.chain(), transport=MockTransport([{}])) as client:
        client.proxy(f"v1/%6f{TOKEN[1:]}", TOKEN, method="GET")
    assert TOKEN[1:] not in traced.span.to_json()
    assert known(traced.span)["url.full"].endswith("/api/proxy/v1/oo_***")


def test_without_an_sdk_nothing_is_sent_and_what_came_goes_on() -> None:
    transport = MockTransport([{"value": "s"}])
    with oo.Client(middleware=[oo.Tracing(), *oo.default_middleware()], transport=transport) as client:
        assert client.get_secret(TOKEN) == "s"
    assert "traceparent" not in transport.requests[0].headers


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_in_a_gateway_the_span_is_the_callers_child_and_the_upstream_is_told(
    traced: Traced, scheme: str, tmp_path: Path
) -> None:
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    certificate = self_signed(tmp_path, "127.0.0.1")
    tls = certificate.server if scheme == "https" else None
    with BackgroundLoop() as background:
        upstream, vault = background.enter(OpenAI()), background.enter(temporary_vault())
        gateway = background.enter(Gateway(vault, watchers=[traced.middleware], tls=tls))
        local = LocalGateway(gateway.url, vault, background)
        token = local.route("api", upstream.url)
        with oo.Client(gateway.url, verify=certificate.file) as client:
            headers = {"traceparent": parent, "tracestate": "a=b"}
            client.proxy("v1/chat/completions?x=canary-query", token, payload=CHAT, headers=headers)
            list(client.chat_completion(token, [], model="m", stream=True))
            with pytest.raises(oo.AuthenticationError):
                client.proxy("v1/canary", TOKEN, payload={})
            client.health()
        identity = local.run(vault.tokens())[0].id
    first, second, refused = traced.spans
    assert (first.name, first.kind) == ("chat gpt-4o", trace.SpanKind.SERVER)
    assert first.parent is not None
    assert f"{first.parent.trace_id:032x}-{first.parent.span_id:016x}" in parent
    assert known(first) == {
        "http.request.method": "POST",
        "oo.operation": "proxy",
        "http.route": "/api/proxy/{path}",
        "url.scheme": scheme,
        "url.path": "/api/proxy/v1/chat/completions",
        "oo.route": "api",
        "oo.token_id": identity,
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.response.model": "gpt-4o",
        **{name: known(first)[name] for name in ("gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens")},
        "http.response.status_code": 200,
    }
    assert upstream.seen[0]["headers"]["traceparent"][:-3] == ids(first)
    assert upstream.seen[0]["headers"]["tracestate"] == "a=b"
    assert second.parent is None
    assert (second.name, known(second)["gen_ai.request.model"]) == ("chat m", "m")
    assert (refused.name, known(refused)["http.response.status_code"]) == ("POST /api/proxy/{path}", 401)
    assert "url.path" not in known(refused)
    for span in traced.spans:
        assert "canary" not in span.to_json()
        assert token not in span.to_json()


def test_a_failure_of_a_gateway_is_one_and_a_refusal_is_none(traced: Traced) -> None:
    with BackgroundLoop() as background:
        vault = background.enter(temporary_vault())
        gateway = background.enter(Gateway(vault, watchers=[traced.middleware]))
        local = LocalGateway(gateway.url, vault, background)
        local.run(vault.put_route(Route("dead", "http://127.0.0.1:1", allow_private=True)))
        token = local.issue("route", "dead")
        with oo.Client(gateway.url) as client:
            for each in (token, TOKEN):
                with pytest.raises(oo.DoubleOError):
                    client.proxy("x", each, method="GET")
    assert [(span.status.status_code.name, known(span).get("error.type")) for span in traced.spans] == [
        ("ERROR", "502"),
        ("UNSET", None),
    ]


@pytest.mark.parametrize("again", [False, True])
async def test_of_a_body_in_pieces_the_beginning_is_kept(monkeypatch: pytest.MonkeyPatch, again: bool) -> None:
    monkeypatch.setattr(tracing, "_MOST", 5)

    async def pieces() -> AsyncIterator[bytes]:
        for piece in (b"abc", b"defg", b"h"):
            yield piece

    kept = bytearray()
    body = tracing._WatchedBody(Body(pieces if again else pieces(), length=8), kept)
    assert (body.length, body.replayable, body.here()) == (8, again, None)
    for _ in range(2 if again else 1):
        assert b"".join([piece async for piece in body]) == b"abcdefgh"
        assert kept == b"abcde"


def test_a_body_that_was_left_is_left_below() -> None:
    left: list[str] = []

    async def pieces() -> AsyncIterator[bytes]:
        yield b"x"

    tracing._WatchedBody(Body(pieces(), abort=lambda: left.append("left")), bytearray()).abort()
    assert left == ["left"]
