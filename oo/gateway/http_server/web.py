"""What is used of aiohttp.web. That would bring applications, routes and files as well, and each start wait for it."""

from __future__ import annotations

from aiohttp.web_protocol import RequestHandler, RequestPayloadError
from aiohttp.web_request import BaseRequest
from aiohttp.web_response import Response, StreamResponse
from aiohttp.web_server import Server
from aiohttp.web_ws import WebSocketResponse

__all__ = [
    "BaseRequest",
    "RequestHandler",
    "RequestPayloadError",
    "Response",
    "Server",
    "StreamResponse",
    "WebSocketResponse",
]
