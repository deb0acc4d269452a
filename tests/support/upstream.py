"""An upstream of our own that speaks the OpenAI shapes, and records what it saw."""

from __future__ import annotations

import json
import ssl
from types import TracebackType
from typing import TYPE_CHECKING, Any

from aiohttp import web

if TYPE_CHECKING:
    from typing_extensions import Self


class Upstream:
    """Answers by `handle` on loopback while its `async with` block runs, over TLS where it has a context."""

    url = ""
    host = "127.0.0.1"
    tls: ssl.SSLContext | None = None

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """The answer to one request."""
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        self._runner = web.ServerRunner(web.Server(self.handle, access_log=None), shutdown_timeout=1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self.tls).start()
        self.port: int = self._runner.addresses[0][1]
        self.url = f"http{'s' if self.tls else ''}://{self.host}:{self.port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._runner.cleanup()


class OpenAI(Upstream):
    """Listens on loopback while its `async with` block runs. `seen` holds each request: method, path, headers, body."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []
        self.statuses: list[int] = []

    @property
    def keys(self) -> list[str]:
        return [request["headers"].get("Authorization", "") for request in self.seen]

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        self.seen.append(
            {"method": request.method, "path": request.raw_path, "headers": request.headers.copy(), "body": body}
        )
        if self.statuses:
            return _json({"error": {"message": "busy", "type": "server_error"}}, self.statuses.pop(0))
        place = request.path
        if place in ("/v1/charges", "/v1/audio/transcriptions", "/v1/upload"):
            return _json({"type": request.headers.get("Content-Type"), "size": len(body)})
        sent = json.loads(body) if body else {}
        if place == "/v1/chat/completions" and sent.get("stream"):
            return await _streamed(request, sent.get("model", ""), ["Hello", " to", " you."])
        if place == "/v1/chat/completions":
            return _json(completion(sent.get("model", ""), "Hello to you."))
        if place == "/v1/embeddings":
            texts = sent["input"] if isinstance(sent["input"], list) else [sent["input"]]
            data = [{"object": "embedding", "index": n, "embedding": [0.5, 0.25]} for n in range(len(texts))]
            usage = {"prompt_tokens": 1, "total_tokens": 1}
            return _json({"object": "list", "data": data, "model": sent["model"], "usage": usage})
        if place == "/v1/images/generations":
            return _json({"created": 0, "data": [{"url": "http://127.0.0.1/image.png"}] * sent.get("n", 1)})
        if place == "/v1/models":
            return _json({"object": "list", "data": [{"id": "gpt-4o-mini", "object": "model"}]})
        if place == "/echo":
            headers = [[name, value] for name, value in request.headers.items()]
            return _json({"path": request.raw_path, "headers": headers, "body": body.decode()})
        return _json({"error": {"message": "Unknown request URL", "type": "invalid_request_error"}}, 404)


def completion(model: str, text: str) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 0,
        "model": model,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 3, "total_tokens": 4},
    }


async def _streamed(request: web.BaseRequest, model: str, words: list[str]) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    shared = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 0, "model": model}
    for word in words:
        choice = {"index": 0, "delta": {"content": word}, "finish_reason": None}
        await response.write(b"data: " + json.dumps({**shared, "choices": [choice]}).encode() + b"\n\n")
    last = {"index": 0, "delta": {}, "finish_reason": "stop"}
    await response.write(b"data: " + json.dumps({**shared, "choices": [last]}).encode() + b"\n\ndata: [DONE]\n\n")
    return response


def _json(data: Any, status: int = 200) -> web.Response:
    return web.Response(status=status, body=json.dumps(data).encode(), content_type="application/json")
