"""An upstream of our own that speaks as the APIs do whose SDKs are tried: OpenAI, Azure, Anthropic, Google, AWS, GitHub
and Stripe."""

from __future__ import annotations

import json
import re
from typing import Any

from aiohttp import web

from tests.support.upstream import OpenAI, completion

WORDS = ["Hello", " to", " you."]
TEXT = "".join(WORDS)

_BUCKETS = b"""<?xml version="1.0" encoding="UTF-8"?>
<ListAllMyBucketsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Owner><ID>1</ID></Owner>
<Buckets><Bucket><Name>things</Name><CreationDate>2026-01-01T00:00:00.000Z</CreationDate></Bucket></Buckets>
</ListAllMyBucketsResult>"""


class APIs(OpenAI):
    """Listens on loopback while its `async with` block runs. `seen` holds each request, as OpenAI's does."""

    def __init__(self) -> None:
        super().__init__()
        self.objects: dict[str, bytes] = {}

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        # Google's version stands before what is called.
        place, body = re.sub("^/v1[a-z0-9]*/models/", "/models/", request.path), await request.read()
        answers = {
            "/v1/messages": _anthropic,
            "/models/gemini:generateContent": _google,
            "/models/gemini:streamGenerateContent": _google_stream,
            "/": _aws,
            "/user": _user,
            "/v1/customers": _customer,
        }
        if place in answers or place.startswith("/things/"):
            self.note(request, body)
        if place in answers:
            return await answers[place](request, body)
        if place.startswith("/things/"):
            return self._object(request, body)
        if place.startswith("/openai/deployments/"):
            self.note(request, body)
            return _json(completion("m", TEXT))
        return await super().handle(request)

    def note(self, request: web.BaseRequest, body: bytes) -> None:
        self.seen.append(
            {"method": request.method, "path": request.raw_path, "headers": request.headers.copy(), "body": body}
        )

    def _object(self, request: web.BaseRequest, body: bytes) -> web.Response:
        if request.method == "PUT":
            self.objects[request.path] = body
            return web.Response(headers={"ETag": '"1"'})
        return web.Response(body=self.objects[request.path], content_type="application/octet-stream")


async def _anthropic(request: web.BaseRequest, body: bytes) -> web.StreamResponse:
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [{"type": "text", "text": TEXT}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 1, "output_tokens": 3},
    }
    if not json.loads(body).get("stream"):
        return _json(message)
    deltas = [
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": word}} for word in WORDS
    ]
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {**message, "content": [], "stop_reason": None}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *deltas,
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 3}},
        {"type": "message_stop"},
    ]
    return await _events(request, events)


async def _google(_request: web.BaseRequest, _body: bytes) -> web.StreamResponse:
    return _json(_candidate(TEXT))


async def _google_stream(request: web.BaseRequest, _body: bytes) -> web.StreamResponse:
    return await _events(request, [_candidate(word) for word in WORDS])


async def _aws(request: web.BaseRequest, _body: bytes) -> web.StreamResponse:
    if "X-Amz-Target" in request.headers:
        return _json({"TableNames": ["things"]})
    return web.Response(body=_BUCKETS, content_type="application/xml")


async def _user(_request: web.BaseRequest, _body: bytes) -> web.StreamResponse:
    return _json({"login": "somebody", "id": 1, "url": "https://api.github.com/users/somebody"})


async def _customer(_request: web.BaseRequest, body: bytes) -> web.StreamResponse:
    return _json({"id": "cus_1", "object": "customer", "email": "a@b.example" if b"a%40b" in body else None})


def _candidate(text: str) -> dict[str, Any]:
    return {"candidates": [{"content": {"role": "model", "parts": [{"text": text}]}, "index": 0}]}


async def _events(request: web.BaseRequest, events: list[dict[str, Any]]) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for event in events:
        name = f"event: {event['type']}\n" if "type" in event else ""
        await response.write(f"{name}data: {json.dumps(event)}\n\n".encode())
    return response


def _json(data: Any) -> web.Response:
    return web.Response(body=json.dumps(data).encode(), content_type="application/json")
