"""Each private name of aiohttp's server that the gateway uses is there, in the shape it needs. A release without one
fails here, by that name."""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import StreamReader, web, web_protocol
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_writer import StreamWriter

from oo.gateway.http_server import _aiohttp_patches as patches

RAW = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"

# What is ours of the names that begin with an underscore.
OWN = set(
    "_body _count_rest _fail_bodies _finish_early _has_come_whole _head _is_full _length_known _parse _refuse "
    "_refuse_head _refused".split()
)


def parameters(function: Callable[..., Any]) -> list[str]:
    return list(inspect.signature(function).parameters)


async def answer(_request: web.BaseRequest) -> web.StreamResponse:
    return web.Response(text="ok")


def test_a_connection_can_be_let_go_of() -> None:
    assert parameters(web.Server.connection_lost)[:3] == ["self", "handler", "exc"]
    assert parameters(web.RequestHandler.set_parser)[:2] == ["self", "parser"]
    assert "_manager" in web.RequestHandler.__slots__


def test_a_server_keeps_its_loop_and_its_settings() -> None:
    async def made() -> None:
        server = web.Server(answer, access_log=None, keepalive_timeout=7.0)
        assert server._loop is asyncio.get_running_loop()
        assert server._kwargs["keepalive_timeout"] == 7.0
        assert server._kwargs["access_log"] is None

    asyncio.run(made())


@pytest.mark.parametrize(
    "name",
    [
        "_request_count",
        "_messages",
        "_waiter",
        "_current_request",
        "_task_handler",
        "_message_tail",
        "_keepalive_handle",
        "_force_close",
    ],
)
def test_a_connection_has_its_slot(name: str) -> None:
    assert name in web.RequestHandler.__slots__


def test_a_connection_says_whether_it_is_http_yet() -> None:
    assert hasattr(web.RequestHandler, patches._UPGRADED)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("__init__", ["self", "manager", "loop"]),
        ("data_received", ["self", "data"]),
        ("handle_error", ["self", "request", "status", "exc", "message"]),
        ("finish_response", ["self", "request", "resp", "start_time"]),
        ("close", ["self"]),
        ("connection_lost", ["self", "exc"]),
        ("shutdown", ["self", "timeout"]),
    ],
)
def test_a_method_that_is_overridden_or_called_takes_what_it_did(name: str, expected: list[str]) -> None:
    assert parameters(getattr(web.RequestHandler, name))[: len(expected)] == expected


def test_what_is_awaited_of_a_connection_is_a_coroutine() -> None:
    assert inspect.iscoroutinefunction(web.RequestHandler.finish_response)
    assert inspect.iscoroutinefunction(web.RequestHandler.shutdown)
    assert not inspect.iscoroutinefunction(web.RequestHandler.handle_error)


def test_log_exception_takes_any_message_and_the_error_by_name() -> None:
    assert {each.kind for each in inspect.signature(web.RequestHandler.log_exception).parameters.values()} >= {
        inspect.Parameter.VAR_POSITIONAL,
        inspect.Parameter.VAR_KEYWORD,
    }


async def test_a_connection_starts_with_nothing() -> None:
    handler = web.RequestHandler(web.Server(answer), loop=asyncio.get_running_loop())
    assert (handler._request_count, len(handler._messages)) == (0, 0)
    assert (handler._waiter, handler._current_request) == (None, None)
    assert handler._loop is asyncio.get_running_loop()


def test_a_parse_error_is_a_type_of_its_own() -> None:
    assert inspect.isclass(web_protocol._ErrInfo)
    assert not issubclass(web_protocol._ErrInfo, web_protocol.RawRequestMessage)


@pytest.mark.parametrize("name", ["set_exception", "feed_eof", "is_eof", "exception", "read_nowait"])
def test_a_body_has_its_method(name: str) -> None:
    assert callable(getattr(StreamReader, name))


async def test_a_body_counts_its_bytes_and_breaks_from_outside() -> None:
    protocol = web_protocol.BaseProtocol(asyncio.get_running_loop())
    body = StreamReader(protocol, 1 << 16, loop=asyncio.get_running_loop())
    body.feed_data(b"four")
    assert (body.total_bytes, body.is_eof()) == (4, False)
    body.set_exception(web.RequestPayloadError())
    body.feed_eof()
    assert body.is_eof()
    with pytest.raises(web.RequestPayloadError):
        await body.read()


def test_a_writer_counts_what_it_has_sent() -> None:
    assert isinstance(AbstractStreamWriter.output_size, int)
    assert isinstance(StreamWriter.output_size, int)


def test_the_table_at_the_head_of_the_file_has_each_private_name() -> None:
    source = inspect.getsource(patches)
    head, code = source.split('"""', 2)[1:]
    used = set(re.findall(r"\b(?:self|server)\.(_[a-z_]+)", code)) - OWN
    assert used
    assert {name for name in used if name not in head} == set()


class Recording(patches.BaseConnection):
    """A connection that says in which states it was."""

    def data_received(self, data: bytes) -> None:
        before = (self.waits, self.request_count)
        super().data_received(data)
        self._manager.states.append((*before, self.request_count, self.queued))


class Server(patches.BaseServer):
    """Makes such connections."""

    def __init__(self, handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]) -> None:
        super().__init__(handler, access_log=None)
        self.states: list[tuple[bool, int, int, int]] = []

    def __call__(self) -> web.RequestHandler:
        return Recording(self, lambda _, status: web.Response(status=status, text="refused"))


@asynccontextmanager
async def connected(server: Server) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    async with listener:
        reader, writer = await asyncio.open_connection(*listener.sockets[0].getsockname())
        yield reader, writer
        writer.close()


async def test_a_connection_shows_its_state() -> None:
    server = Server(answer)
    async with connected(server) as (reader, writer):
        await asyncio.sleep(0.05)  # so that it waits
        for piece in (RAW[:9], RAW[9:] + RAW):
            writer.write(piece)
            await asyncio.sleep(0.05)
        assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200 ")
        assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200 ")
    assert server.states == [(True, 0, 0, 0), (True, 0, 2, 2)]


async def test_what_is_no_http_is_refused_unquoted_and_ends_the_connection() -> None:
    async with connected(Server(answer)) as (reader, writer):
        writer.write(b"nonsense that is not quoted\r\n\r\n")
        got = await asyncio.wait_for(reader.read(), 10)
    assert re.match(rb"HTTP/1.[01] 400 ", got)
    assert got.endswith(b"refused")
    assert b"nonsense" not in got


async def test_100_continue_is_no_beginning_of_an_answer() -> None:
    begun: list[bool] = []

    async def asks(request: web.BaseRequest) -> web.StreamResponse:
        await patches.send_continue(request)
        begun.append(patches.has_begun(request))
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"x")
        begun.append(patches.has_begun(request))
        return response

    async with connected(Server(asks)) as (reader, writer):
        writer.write(RAW)
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
    assert begun == [False, True]


async def test_a_body_that_is_stopped_ends_there_and_its_connection_after_the_answer() -> None:
    sizes: list[int | None] = []

    async def stops(request: web.BaseRequest) -> web.StreamResponse:
        sizes.append(patches.received_size(request))
        patches.stop_reading(request)
        sizes.append(patches.received_size(request))
        return web.Response(body=await request.content.read())

    async with connected(Server(stops)) as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nfour")
        got = await asyncio.wait_for(reader.read(), 10)
    assert got.endswith(b"\r\n\r\nfour")
    assert sizes == [None, 4]
