"""What a call of a model says of itself, in the words of OpenTelemetry's GenAI conventions. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from .._http.headers import Headers
from .._http.request import Request

_OPERATIONS = {
    "/chat/completions": ("chat", "openai"),
    "/responses": ("chat", "openai"),
    "/completions": ("text_completion", "openai"),
    "/embeddings": ("embeddings", "openai"),
    "/images/generations": ("image_generation", "openai"),
    "/v1/messages": ("chat", "anthropic"),
}
"""What the end of a path is the call of, and whose shape it has."""
_INPUT = ("prompt_tokens", "input_tokens")
_OUTPUT = ("completion_tokens", "output_tokens")


class GenAI:
    """A call of a model. `name` is its span's, `asked` the attributes that are known before it is answered. `sent` is
    the beginning of a body that comes in pieces."""

    def __init__(self, operation: str, provider: str, model: str | None) -> None:
        self.name = operation
        self.asked = {"gen_ai.operation.name": operation, "gen_ai.provider.name": provider}
        self.sent = bytearray()
        self._ask(model)

    def was_sent(self) -> None:
        """Take the model from `sent`, if all of it is there."""
        self._ask(_text(_object(bytes(self.sent)).get("model")))

    def _ask(self, model: str | None) -> None:
        if model is not None:
            self.asked["gen_ai.request.model"] = model
            self.name = f"{self.asked['gen_ai.operation.name']} {model}"

    @staticmethod
    def of(request: Request) -> GenAI | None:
        """What a request calls a model for; None where it does not."""
        if request.operation != "proxy" or request.method != "POST":
            return None
        path = request.url.partition("?")[0]
        for end, (operation, provider) in _OPERATIONS.items():
            if path.endswith(end):
                asked = _object(request.body) if isinstance(request.body, bytes) else {}
                return GenAI(operation, provider, _text(asked.get("model")))
        return None

    def answered(self, headers: Headers, body: bytes) -> dict[str, Any]:
        """What the answer tells: its model, and the tokens in and out. Of a stream each event may tell a part."""
        found: dict[str, Any] = {}
        if headers.get("Content-Encoding", "identity") != "identity":
            return found
        events = "text/event-stream" in (headers.get("Content-Type") or "")
        for part in _events(body) if events else [_object(body)]:
            inner = part.get("message") or part.get("response")  # of Anthropic's first event, of OpenAI's last
            for each in (part, inner if isinstance(inner, dict) else {}):
                if (model := _text(each.get("model"))) is not None:
                    found["gen_ai.response.model"] = model
                usage = each.get("usage")
                if isinstance(usage, dict):
                    _note(found, "gen_ai.usage.input_tokens", usage, _INPUT)
                    _note(found, "gen_ai.usage.output_tokens", usage, _OUTPUT)
        return found


def _note(found: dict[str, Any], name: str, usage: dict[str, Any], keys: tuple[str, ...]) -> None:
    for key in keys:
        if isinstance(usage.get(key), int):
            found[name] = usage[key]


def _events(body: bytes) -> Iterator[dict[str, Any]]:
    for line in body.splitlines():
        if line.startswith(b"data:") and b'"' in line:
            yield _object(line[5:])


def _object(data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _text(value: object) -> str | None:
    """A model's name; None for what is none, so that a caller's text does not become a span's."""
    return value if isinstance(value, str) and 0 < len(value) <= 128 and value.isprintable() else None
