"""A request and its answer over a connection of aiohttp's, without the session around it.

A session makes about ten objects for a request that this library has no use for. What a request of fields and a small
body needs is one write, and one reading of an answer's head.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any, NamedTuple

if sys.version_info >= (3, 11):
    from asyncio import timeout as at_most
else:
    from async_timeout import timeout as at_most

import aiohttp
from multidict import CIMultiDictProxy
from yarl import URL

from .._core.io import unwritten
from .._http.body import Body
from ._aiohttp_patches import DEFAULT_FIELDS, Connector, Target, start_reading

LARGEST = 1 << 16
"""Bytes of a body that is written in one piece."""

# What changes how a request is framed, or what the connection does after it, is for the session to carry out.
_OF_SESSION = frozenset("connection content-length expect te trailer transfer-encoding upgrade".split())
_NO_BODY = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})  # methods whose lack of a body needs no length


class Answer:
    """What this library uses of an aiohttp.ClientResponse."""

    __slots__ = ("_connector", "_protocol", "_target", "closed", "content", "headers", "status", "version")

    def __init__(
        self, connector: Connector, target: Target, protocol: Any, message: Any, content: aiohttp.StreamReader
    ) -> None:
        self.status: int = message.code
        self.version: aiohttp.HttpVersion = message.version
        self.headers: CIMultiDictProxy[str] = message.headers
        self.content = content
        self.closed = False
        self._connector, self._target, self._protocol = connector, target, protocol
        content.on_eof(self.release)

    def release(self) -> None:
        """Keep the connection for another request, if the answer has been read."""
        if not self.closed:
            self.closed = True
            # What the server has not taken of a request would stand before the next one.
            protocol = self._protocol
            is_sent = protocol.transport is not None and unwritten(protocol.batched) == 0
            self._connector.give_back(self._target, protocol, close=not is_sent)

    def close(self) -> None:
        """Close the connection, if the answer has not been read."""
        if not self.closed:
            self.closed = True
            self._connector.give_back(self._target, self._protocol, close=True)

    __del__ = close  # where nobody did


def message_of(method: str, url: URL, fields: Sequence[tuple[str, str]], body: bytes | Body | None) -> bytes | None:
    """A request as it goes over the wire, its `fields` checked; None for one that only a session carries out."""
    if isinstance(body, Body) or (body is not None and len(body) > LARGEST):
        return None
    names, values = zip(*fields, strict=True) if fields else ((), ())
    place, form = _place(url), _form(names)
    if place is None or form is None:
        return None
    target, host = place
    length = "" if body is None and method in _NO_BODY else f"Content-Length: {len(body or b'')}\r\n"
    head = f"{method} {target} HTTP/1.1\r\n{form.text % form.order((host, *values))}{length}\r\n".encode()
    return head + body if body else head


@lru_cache(256)
def _place(url: URL) -> tuple[str, str] | None:
    """The target of a request's line, and the value of its Host; None where a session must see to the URL."""
    target, host = url.raw_path_qs, url.host_port_subcomponent
    if not host or url.raw_user is not None or url.raw_password is not None:
        return None
    return (target, host) if target.isascii() and target.isprintable() and " " not in target else None


class _Form(NamedTuple):
    """The fields of a request, but for their values: a text for `%`, and the order in which it takes them, behind the
    host."""

    text: str
    order: Callable[[tuple[str, ...]], tuple[str, ...]]


@lru_cache(64)  # most calls have the same names; a gateway's callers may send many, and long ones
def _form(names: tuple[str, ...]) -> _Form | None:
    lowered = [name.lower() for name in names]
    if not _OF_SESSION.isdisjoint(lowered):
        return None
    # As a session has it: the host, the fields that it adds or whose place the request's own takes, the others.
    text, order = "", []
    for name, default in (("Host", "%s"), *DEFAULT_FIELDS.items()):
        own = [index for index, lower in enumerate(lowered, 1) if lower == name.lower()]
        text += "".join(_line(names[index - 1]) for index in own) or f"{name}: {default}\r\n"
        order += own or ([0] if default == "%s" else [])
    others = [index for index in range(1, len(names) + 1) if index not in order]
    text += "".join(_line(names[index - 1]) for index in others)
    order += others
    return _Form(text, itemgetter(*order) if len(order) > 1 else lambda values: (values[order[0]],))


def _line(name: str) -> str:
    return f"{name.replace('%', '%%')}: %s\r\n"


async def exchange(
    connector: Connector,
    url: URL,
    message: bytes,
    within: float,
    timeout: aiohttp.ClientTimeout,
    ssl: Any,
    has_body: bool,
) -> Answer:
    """Send a request, and read the head of its final answer. `has_body` is false for one to HEAD.

    TimeoutError where that takes longer than `within` seconds. ConnectionTimeoutError where no connection is made in
    the time that `timeout` has for that.
    """
    target, deadlines = connector.target(url.origin(), ssl), connector.deadlines
    end = deadlines.after(within)
    protocol = connector.take(target)
    if protocol is None:
        async with at_most(within):
            protocol = await _made(connector, target, timeout)
    late = protocol.expire
    try:
        start_reading(protocol, has_body)
        protocol.batched.write(message)
        # Of asyncio.timeout a tenth of the cost: what is waited for here ends with an exception of the connection's.
        deadlines.add(late, end)
        while True:
            head, content = await protocol.read()
            if not 100 <= head.code < 200 or head.code == 101:  # RFC 9110, 15.2
                return Answer(connector, target, protocol, head, content)
    except BaseException:  # cancelled too: its answer may still come
        connector.give_back(target, protocol, close=True)
        raise
    finally:
        deadlines.remove(late)


async def _made(connector: Connector, target: Target, timeout: aiohttp.ClientTimeout) -> Any:
    try:
        return await connector.made(target, timeout)
    except asyncio.TimeoutError as error:
        raise aiohttp.ConnectionTimeoutError from error
