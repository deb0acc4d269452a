from __future__ import annotations

import json
from typing import Any

import pytest

import oo
from oo.middleware.genai import GenAI

IN, OUT, MODEL = "gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens", "gen_ai.response.model"


def asked(path: str, body: Any = None, method: str = "POST") -> GenAI | None:
    data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    return GenAI.of(oo.Request(method, f"http://x/api/proxy{path}", body=data))


@pytest.mark.parametrize(
    ("path", "body", "name", "provider"),
    [
        ("/v1/chat/completions?x=1", {"model": "gpt-4o"}, "chat gpt-4o", "openai"),
        ("/openai/deployments/a/chat/completions", None, "chat", "openai"),
        ("/v1/completions", {"model": "m"}, "text_completion m", "openai"),
        ("/v1/embeddings", {"model": 1}, "embeddings", "openai"),
        ("/v1/responses", b"no json", "chat", "openai"),
        ("/v1/messages", {"model": "c"}, "chat c", "anthropic"),
        ("/v1/chat/completions", {"model": "x" * 129}, "chat", "openai"),
        ("/v1/chat/completions", {"model": "two\nlines"}, "chat", "openai"),
        ("/v1/chat/completions", [], "chat", "openai"),
    ],
)
def test_what_calls_a_model_is_told_by_its_path(path: str, body: Any, name: str, provider: str) -> None:
    found = asked(path, body)
    assert found is not None
    assert (found.name, found.asked["gen_ai.provider.name"]) == (name, provider)
    assert found.asked.get("gen_ai.request.model") == (name.partition(" ")[2] or None)


@pytest.mark.parametrize(("path", "method"), [("/v1/models", "GET"), ("/v1/chat/completions", "GET"), ("/x", "POST")])
def test_other_calls_are_of_no_model(path: str, method: str) -> None:
    assert asked(path, method=method) is None


def test_a_secret_is_no_model() -> None:
    request = oo.Request("POST", "http://x/v1/chat/completions")
    request.context.operation = "secret"
    assert GenAI.of(request) is None


def sse(*events: Any) -> bytes:
    return (
        b"".join(b"event: x\ndata: " + json.dumps(event).encode() + b"\n\n" for event in events) + b"data: [DONE]\n\n"
    )


@pytest.mark.parametrize(
    ("kind", "body", "found"),
    [
        ("application/json", b'{"model": "m", "usage": {"prompt_tokens": 3, "completion_tokens": 4}}', (3, 4, "m")),
        ("application/json", b'{"model": "m", "usage": {"input_tokens": 3, "output_tokens": 4}}', (3, 4, "m")),
        ("application/json", b'{"usage": {"prompt_tokens": "3"}}', (None, None, None)),
        ("application/json", b'{"usage": 1}', (None, None, None)),
        ("application/json", b"[1", (None, None, None)),
        (
            "text/event-stream; charset=utf-8",
            sse({"model": "m", "choices": []}, {"usage": {"prompt_tokens": 3, "completion_tokens": 4}}),
            (3, 4, "m"),
        ),
        (
            "text/event-stream",
            sse(
                {"type": "message_start", "message": {"model": "c", "usage": {"input_tokens": 3, "output_tokens": 1}}},
                {"type": "message_delta", "usage": {"output_tokens": 4}},
            ),
            (3, 4, "c"),
        ),
        (
            "text/event-stream",
            sse({"type": "response.completed", "response": {"model": "m", "usage": {"input_tokens": 3}}}),
            (3, None, "m"),
        ),
    ],
)
def test_an_answer_tells_its_model_and_its_tokens(kind: str, body: bytes, found: tuple[Any, ...]) -> None:
    genai = GenAI("chat", "openai", None)
    told = genai.answered(oo.Headers({"Content-Type": kind}), body)
    assert tuple(told.get(name) for name in (IN, OUT, MODEL)) == found


def test_an_answer_that_is_still_compressed_tells_nothing() -> None:
    headers = oo.Headers({"Content-Encoding": "gzip"})
    assert GenAI("chat", "openai", None).answered(headers, b'{"model": "m"}') == {}
