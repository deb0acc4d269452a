"""A small answer in one piece, its head and its body written at once."""

from __future__ import annotations

import time
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus

from aiohttp import HttpVersion11
from aiohttp.abc import AbstractStreamWriter
from multidict import CIMultiDict

from ..http_server import web

LARGEST = 64 << 10
"""Bytes of a body that is written together with its head."""


class OnePiece(web.StreamResponse):
    """A status, headers and a body of at most LARGEST bytes."""

    # What StreamResponse prepares for its pieces is not made, and none of its methods that need it is called.
    def __init__(self, status: int, headers: CIMultiDict[str], body: bytes) -> None:
        self._status = status
        self._headers = headers
        self._piece = body
        self._keep_alive: bool | None = None
        self._request: web.BaseRequest | None = None

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Note to which request this is the answer."""
        self._request = request
        if self._keep_alive is None:
            self._keep_alive = request.keep_alive
        return None

    async def write_eof(self, data: bytes = b"") -> None:  # noqa: ARG002  # its body it has
        """Write it. ConnectionResetError if the caller has left."""
        request = self._request
        transport = None if request is None else request.transport
        if request is None or transport is None or transport.is_closing():
            raise ConnectionResetError
        transport.write(self._message(request))
        self._piece = b""
        self._headers.clear()  # aiohttp keeps the last answer of a connection that waits
        await request.writer.drain()

    def _message(self, request: web.BaseRequest) -> bytes:
        headers, body, status, version = self._headers, self._piece, self._status, request.version
        if status == 204:  # RFC 9110, 8.6
            headers.popall("Content-Length", None)
        elif "Content-Length" not in headers and (body or (status != 304 and request.method != "HEAD")):
            headers["Content-Length"] = str(len(body))
        if request.method == "HEAD" or status in (204, 304):
            body = b""
        elif body:
            headers.setdefault("Content-Type", "application/octet-stream")  # RFC 9110, 8.3
        headers.setdefault("Date", _date(int(time.time())))
        if self._keep_alive is not (version >= HttpVersion11):  # RFC 9112, 9.3
            headers.setdefault("Connection", "keep-alive" if self._keep_alive else "close")
        fields = "\r\n".join(map(": ".join, headers.items()))
        lines = len(headers) - 1
        if fields.count("\n") != lines or fields.count("\r") != lines or "\0" in fields:
            raise ValueError("a header holds a character that no header has")
        return f"HTTP/{version.major}.{version.minor} {_status_text(status)}\r\n{fields}\r\n\r\n".encode() + body


@lru_cache(2)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)


@lru_cache(64)
def _status_text(status: int) -> str:
    try:
        return f"{status:d} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"{status:d} "  # RFC 9112, 4: the blank stands though nothing follows it
