from __future__ import annotations

import asyncio
import ssl
import sys
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from oo.gateway.http_server import server as server_module
from oo.gateway.http_server.server import MAX_CONNECTIONS, Server
from oo.gateway.listening import bound
from tests.support.certificates import self_signed
from tests.support.waiting import SOON

RAW = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


async def answer(_request: web.BaseRequest) -> web.StreamResponse:
    return web.Response(text="ok")


def refuse(_request: web.BaseRequest, status: int) -> web.Response:
    return web.Response(status=status)


class Aborted(asyncio.Transport):
    """A transport that nothing is behind; `aborted` tells whether it was."""

    aborted = False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def is_closing(self) -> bool:
        return self.aborted

    def abort(self) -> None:
        self.aborted = True

    close = abort


def connect(server: Server) -> tuple[Any, Aborted]:
    connection, transport = server(), Aborted()
    connection.connection_made(transport)
    return connection, transport


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.setattr(server_module, "connection_limit", lambda _most: 2)
    return Server(answer, refuse)


def wait(server: Server, seconds: float = server_module.SPEAK_WITHIN) -> None:
    """Let time pass for what is connected."""
    for waiting in (server._fresh, server._idle):
        waiting.update({connection: since - seconds for connection, since in waiting.items()})


async def test_one_too_many_takes_the_place_of_the_oldest_without_a_request(server: Server) -> None:
    made = []
    for _ in range(4):
        wait(server)
        made.append(connect(server))
    assert [transport.aborted for _, transport in made] == [True, True, False, False]
    for connection, _ in made:
        connection.connection_lost(None)
    assert (server._tracked, server._fresh, server._idle) == (set(), {}, {})


@pytest.mark.parametrize("idle", [True, False])
async def test_one_that_may_be_about_to_speak_is_not_cut(
    server: Server, idle: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "BACKLOG", 3)
    early = [connect(server) for _ in range(2)]
    if idle:
        for connection, _ in early:
            server._idle[connection] = server._fresh.pop(connection)
    wait(server, 0.5)
    flood = [connect(server) for _ in range(5)]
    assert [transport.aborted for _, transport in early] == [False, False]
    assert [transport.aborted for _, transport in flood] == [False, False, False, True, True]
    wait(server, 0.6)
    connect(server)
    assert [transport.aborted for _, transport in early] == [True, False]
    assert len(server._tracked) == 5


async def test_one_that_has_asked_outlives_one_that_has_not(server: Server) -> None:
    asked, silent, late = connect(server), connect(server), None
    server._idle[asked[0]] = server._fresh.pop(asked[0])
    wait(server)
    late = connect(server)
    assert [transport.aborted for _, transport in (asked, silent, late)] == [False, True, False]
    server._fresh.clear()
    connect(server)
    assert asked[1].aborted


async def test_one_too_many_is_closed_where_all_others_are_being_answered(server: Server) -> None:
    busy = [connect(server) for _ in range(2)]
    server._fresh.clear()
    connection, transport = connect(server)
    assert transport.aborted
    assert connection not in server._tracked
    assert not any(each.aborted for _, each in busy)


async def test_a_connection_is_idle_between_two_requests() -> None:
    states: list[tuple[int, int, int]] = []

    async def looks(_request: web.BaseRequest) -> web.StreamResponse:
        states.append((len(server._tracked), len(server._fresh), len(server._idle)))
        return web.Response(text="ok")

    server = Server(looks, refuse)
    sock = bound("127.0.0.1", 0)
    await server.listen(sock)
    reader, writer = await asyncio.open_connection(*sock.getsockname())
    for _ in range(2):
        writer.write(RAW)
        assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200 ")
    states.append((len(server._tracked), len(server._fresh), len(server._idle)))
    writer.close()
    await server.end()
    assert states == [(1, 0, 0), (1, 0, 0), (1, 0, 1)]


@pytest.mark.parametrize("held", [True, False])
async def test_a_call_that_is_held_outlives_its_caller_and_the_server(held: bool) -> None:
    begun, go, ended = asyncio.Event(), asyncio.Event(), asyncio.get_running_loop().create_future()

    async def answers(request: web.BaseRequest) -> web.StreamResponse:
        connection: Any = request.protocol
        connection.is_held = held
        begun.set()
        try:
            await go.wait()
        except asyncio.CancelledError:
            ended.set_result("cancelled")
            raise
        ended.set_result(connection.has_left)
        return web.Response(text="ok")

    server = Server(answers, refuse)
    sock = bound("127.0.0.1", 0)
    await server.listen(sock)
    _, writer = await asyncio.open_connection(*sock.getsockname())
    writer.write(RAW)
    await begun.wait()
    await server.end()
    assert ended.done() is not held
    go.set()
    assert await ended == (True if held else "cancelled")
    writer.close()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
@pytest.mark.parametrize(("files", "connections"), [(256, 32), (1024, 416), (64, 16), (10**6, MAX_CONNECTIONS)])
def test_each_connection_leaves_a_file_for_an_upstreams(
    files: int, connections: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    import resource

    monkeypatch.setattr(resource, "getrlimit", lambda _: (files, files))
    assert server_module.connection_limit() == connections


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_where_files_have_no_limit_connections_have_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    import resource

    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY,) * 2)
    assert server_module.connection_limit() == MAX_CONNECTIONS


@pytest.mark.parametrize(("most", "connections"), [(10, 10), (10**6, 16), (None, 16)])
def test_it_holds_as_many_as_it_is_told_if_it_can(
    most: int | None, connections: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (64, 64))
    assert server_module.connection_limit(most) == connections


@pytest.mark.parametrize("is_encrypted", [False, True])
async def test_the_end_of_an_answer_that_goes_before_the_body_shows_at_once(
    server: Server, is_encrypted: bool, tmp_path: Path
) -> None:
    certificate = self_signed(tmp_path, "127.0.0.1")
    trusted = ssl.create_default_context(cafile=certificate.file)
    sock = bound("127.0.0.1", 0)
    address = sock.getsockname()
    await server.listen(sock, certificate.server if is_encrypted else None)
    reader, writer = await asyncio.open_connection(*address, ssl=trusted if is_encrypted else None)
    writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n")
    assert (await asyncio.wait_for(reader.read(), SOON)).endswith(b"\r\n\r\nok")
    writer.close()
    await server.end()
