"""What is leaned on inside aiohttp's client: each name is there, in the shape that is needed."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

import aiohttp
import pytest
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import BaseConnector
from aiohttp.connector import Connection as Held
from aiohttp.http import HttpProcessingError

import oo
from oo.transports import _aiohttp_patches as patches
from oo.transports._aiohttp_patches import Connection, Connector, NoCookies, fresh
from tests.support.faults import answer, serving
from tests.support.probing import TOKEN


@pytest.mark.parametrize(
    ("function", "wanted"),
    [
        (ResponseHandler.__init__, ["self", "loop"]),
        (ResponseHandler.is_connected, ["self"]),
        (ResponseHandler.close, ["self"]),
        (ResponseHandler.abort, ["self"]),
        (ResponseHandler.data_received, ["self", "data"]),
        (ResponseHandler.connection_lost, ["self", "exc"]),
        (ResponseHandler.set_exception, ["self", "exc", "exc_cause"]),
        (BaseConnector._get, ["self", "key", "traces"]),
        (aiohttp.TCPConnector._create_connection, ["self", "req", "traces", "timeout"]),
        (Held._notify_release, ["self"]),
        (aiohttp.DummyCookieJar.update_cookies, ["self", "cookies", "response_url"]),
        (NoCookies.update_cookies_from_headers, ["self", "headers", "response_url"]),
    ],
    ids=lambda each: getattr(each, "__qualname__", ""),
)
def test_a_function_takes_what_it_is_given(function: Any, wanted: list[str]) -> None:
    assert list(inspect.signature(function).parameters) == wanted


def test_a_coroutine_is_one_and_a_function_is_none() -> None:
    assert inspect.iscoroutinefunction(BaseConnector._get)
    assert inspect.iscoroutinefunction(aiohttp.TCPConnector._create_connection)
    assert not inspect.iscoroutinefunction(aiohttp.TCPConnector._close)
    assert isinstance(ResponseHandler.should_close, property)
    assert "_response" in inspect.getsource(aiohttp.ClientWebSocketResponse.close)
    assert hasattr(aiohttp.abc.AbstractCookieJar, "update_cookies_from_headers")
    assert issubclass(HttpProcessingError, Exception)


async def test_what_is_read_and_replaced_is_there() -> None:
    handler = ResponseHandler(asyncio.get_running_loop())
    assert (handler._payload, handler.transport) == (None, None)
    async with aiohttp.TCPConnector() as plain, Connector() as connector:
        assert isinstance(plain._factory(), ResponseHandler)
        assert dict(plain._waiters) == {}
        assert isinstance(connector._factory(), Connection)
        async with aiohttp.ClientSession(connector=connector) as session:
            assert session._retry_connection is True
            assert session.connector is connector
    assert aiohttp.EMPTY_PAYLOAD.at_eof()


async def test_an_answer_knows_its_connection_until_it_is_read() -> None:
    with serving(reply=lambda _request: answer(b"x")[:-1]) as server:
        async with aiohttp.ClientSession() as session, session.get(server.url) as came:
            assert isinstance(came._protocol, ResponseHandler)
            assert came.connection is not None
            assert came.connection.protocol is came._protocol


async def test_the_transport_s_connections_are_in_use() -> None:
    with serving(reply=lambda _request: answer()) as server:
        async with oo.AsyncClient(server.url) as client:
            assert await client.get_secret(TOKEN) == "good"
            connector: Any = client._pipeline.transport._session().connector  # type: ignore[attr-defined]  # AiohttpTransport's
            ((held, *_),) = connector._conns.values()
            assert isinstance(held[0], Connection)
            assert not held[0]._reused
            assert await client.get_secret(TOKEN) == "good"
            assert (held[0]._reused, held[0]._answered) == (True, True)
            before = fresh.set(True)
            assert not held[0].is_connected()
            fresh.reset(before)
            assert held[0].is_connected()


def other(*_arguments: object) -> None:
    """Something that takes other things than aiohttp's function."""


@pytest.mark.parametrize(
    ("place", "name", "instead"),
    [
        (aiohttp.ClientRequest, "__init__", lambda self: None),
        (aiohttp.ClientRequest, "connection_key", None),
        (aiohttp.TCPConnector, "connect", lambda self, request: None),
        (BaseConnector, "_release", other),
        (BaseConnector, "__init__", other),
        (BaseConnector, "_release", None),
        (ResponseHandler, "set_response_params", lambda self, timer=None: None),
        (Held, "protocol", other),
        (Held, "protocol", None),
        (Held, "__init__", other),
    ],
)
def test_another_shape_of_aiohttp_goes_by_its_session(
    place: type, name: str, instead: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert patches._has_known_shape()
    if instead is None:
        monkeypatch.delattr(place, name)
    else:
        monkeypatch.setattr(place, name, instead)
    assert not patches._has_known_shape()
