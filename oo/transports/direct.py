"""A request and its answer over a connection of aiohttp's, without the session around it.

A session makes about ten objects for a request that this library has no use for. What a request of fields and a small
body needs is one write, and one reading of an answer's head.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import aiohttp
from multidict import CIMultiDictProxy
from yarl import URL

from .._http.body import Body
from ._aiohttp_patches import DEFAULT_FIELDS, Connector, start_reading

LARGEST = 1 << 16
"""Bytes of a body that is written in one piece."""

# What changes how a request is framed, or what the connection does after it, is for the session to carry out.
_OF_SESSION = frozenset("connection content-length expect te trailer transfer-encoding upgrade".split())
_NO_BODY = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})  # methods whose lack of a body needs no length


class Answer:
    """What this library uses of an aiohttp.ClientResponse."""

    __slots__ = ("_connection", "_protocol", "closed", "content", "headers", "status", "version")

    def __init__(self, connection: Any, message: Any, content: aiohttp.StreamReader) -> None:
        self.status: int = message.code
        self.version: aiohttp.HttpVersion = message.version
        self.headers: CIMultiDictProxy[str] = message.headers
        self.content = content
        self.closed = False
        self._connection, self._protocol = connection, connection.protocol
        content.on_eof(self.release)

    def release(self) -> None:
        """Keep the connection for another request, if the answer has been read."""
        if not self.closed:
            self.closed = True
            # What the server has not taken of a request would stand before the next one.
            if self._protocol.transport is None or self._protocol.transport.get_write_buffer_size():
                self._connection.close()
            else:
                self._connection.release()

    def close(self) -> None:
        """Close the connection."""
        self.closed = True
        self._connection.close()


def message_of(method: str, url: URL, fields: Sequence[tuple[str, str]], body: bytes | Body | None) -> bytes | None:
    """A request as it goes over the wire, its `fields` checked; None for one that only a session carries out."""
    if isinstance(body, Body) or (body is not None and len(body) > LARGEST):
        return None
    place, order = _place(url), _order(tuple([name for name, _ in fields]))
    if place is None or order is None:
        return None
    target, host = place
    lines = [f"{method} {target} HTTP/1.1"]
    for index, default in order:
        if index is None:
            lines.append(default or host)
        else:
            name, value = fields[index]
            lines.append(f"{name}: {value}")
    if body is not None or method not in _NO_BODY:
        lines.append(f"Content-Length: {len(body or b'')}")
    head = ("\r\n".join(lines) + "\r\n\r\n").encode()
    return head + body if body else head


@lru_cache(256)
def _place(url: URL) -> tuple[str, str] | None:
    """The target of a request's line, and its Host field; None where a session must see to the URL."""
    target, host = url.raw_path_qs, url.host_port_subcomponent
    if not host or url.raw_user is not None or url.raw_password is not None:
        return None
    return (target, f"Host: {host}") if target.isascii() and target.isprintable() and " " not in target else None


@lru_cache(256)
def _order(names: tuple[str, ...]) -> tuple[tuple[int | None, str], ...] | None:
    # As a session does: the host, the fields that it adds or whose place the request's own takes, the others.
    lowered = [name.lower() for name in names]
    if not _OF_SESSION.isdisjoint(lowered):
        return None
    order: list[tuple[int | None, str]] = []
    for wanted, default in (
        ("host", ""),
        *((name.lower(), f"{name}: {text}") for name, text in DEFAULT_FIELDS.items()),
    ):
        own = [index for index, name in enumerate(lowered) if name == wanted]
        order.extend((index, "") for index in own)
        if not own:
            order.append((None, default))
    placed = {index for index, _ in order}
    order.extend((index, "") for index in range(len(names)) if index not in placed)
    return tuple(order)


async def exchange(
    connector: Connector, url: URL, message: bytes, timeout: aiohttp.ClientTimeout, ssl: Any, has_body: bool
) -> Answer:
    """Send a request, and read the head of its final answer. `has_body` is false for one to HEAD.

    ConnectionTimeoutError where no connection is made in the `timeout`'s time for that.
    """
    try:
        connection = await connector.connect(connector.target(url.origin(), ssl), [], timeout)
    except asyncio.TimeoutError as error:
        raise aiohttp.ConnectionTimeoutError from error
    try:
        protocol = start_reading(connection, has_body)
        protocol.transport.write(message)
        while True:
            head, content = await protocol.read()
            if not 100 <= head.code < 200 or head.code == 101:  # RFC 9110, 15.2
                return Answer(connection, head, content)
    except BaseException:
        connection.close()
        raise
