"""What is leaned on inside urllib3 and requests: each name is there, in the shape that is needed."""

from __future__ import annotations

import inspect
import logging
import ssl
from http import client as http_client
from typing import Any

import pytest
import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool
from urllib3.poolmanager import PoolManager, ProxyManager, proxy_from_url
from urllib3.util.ssl_ import is_ipaddress

import oo
from oo.transports import _urllib3_patches as patches
from oo.transports import requests as blocking
from oo.transports._urllib3_patches import thread
from tests.support.faults import CLOSE, READ, answer, serving
from tests.support.probing import TOKEN


def parameters(function: Any) -> list[str]:
    return list(inspect.signature(function).parameters)


@pytest.mark.parametrize(
    ("function", "wanted"),
    [
        (HTTPConnection._new_conn, ["self"]),
        (HTTPConnection.connect, ["self"]),
        (HTTPSConnection.connect, ["self"]),
        (HTTPConnection.close, ["self"]),
        (http_client.HTTPConnection.send, ["self", "data"]),
        (HTTPConnectionPool._get_conn, ["self", "timeout"]),
        (is_ipaddress, ["hostname"]),
        (HTTPAdapter.build_connection_pool_key_attributes, ["self", "request", "verify", "cert"]),
        (HTTPAdapter.cert_verify, ["self", "conn", "url", "verify", "cert"]),
        (HTTPAdapter.build_response, ["self", "req", "resp"]),
        (HTTPAdapter.request_url, ["self", "request", "proxies"]),
        (HTTPAdapter.proxy_manager_for, ["self", "proxy", "proxy_kwargs"]),
        (HTTPAdapter.get_connection_with_tls_context, ["self", "request", "verify", "proxies", "cert"]),
        (HTTPAdapter.send, ["self", "request", "stream", "timeout", "verify", "cert", "proxies"]),
    ],
    ids=lambda each: getattr(each, "__qualname__", ""),
)
def test_a_function_takes_what_it_is_given(function: Any, wanted: list[str]) -> None:
    assert parameters(function) == wanted


def test_a_connection_has_what_is_read_and_replaced() -> None:
    connection: Any = HTTPConnection("gateway.example", 80)
    assert (connection._dns_host, connection.port, connection.sock) == ("gateway.example", 80, None)
    assert isinstance(HTTPConnection.is_connected, property)
    assert connection.response_class is http_client.HTTPResponse
    assert connection.debuglevel == 0
    assert HTTPSConnection("gateway.example").is_verified is False
    assert HTTPConnectionPool.ConnectionCls is HTTPConnection
    assert "suppress_ragged_eofs" in inspect.getsource(ssl.SSLSocket)


def test_pools_are_made_by_scheme() -> None:
    for manager in (PoolManager(), proxy_from_url("http://proxy:1")):
        assert set(manager.pool_classes_by_scheme) == {"http", "https"}  # type: ignore[attr-defined]  # set in __init__
    assert type(HTTPAdapter().proxy_manager_for("http://proxy:1")) is ProxyManager


def test_a_tunnel_that_is_refused_is_told_in_these_words() -> None:
    with serving([READ, b"HTTP/1.1 407 Who are you\r\n\r\n", CLOSE]) as proxy:
        connection = http_client.HTTPSConnection("127.0.0.1", proxy.port)
        connection.set_tunnel("gateway.example", 443)
        said = ""
        try:
            connection.connect()
        except OSError as error:  # whose traceback holds the proxy's answer, which Python 3.10 does not close
            said = str(error)
        connection.close()
    assert blocking.refused_tunnel(OSError(said)) == 407
    assert blocking.refused_tunnel(OSError("another")) is None
    assert blocking.refused_tunnel(ValueError("Tunnel connection failed: 407 x")) is None


def test_a_prepared_request_has_no_cookies_of_its_own() -> None:
    assert vars(requests.PreparedRequest())["_cookies"] is None


def test_the_transport_s_connections_are_in_use() -> None:
    with serving(reply=lambda _request: answer()) as server, oo.Client(server.url) as client:
        assert client.get_secret(TOKEN) == "good"
        manager = client._pipeline.transport._adapter.poolmanager  # type: ignore[attr-defined]  # RequestsTransport's
        (pool,) = (manager.pools[key] for key in manager.pools.keys())  # noqa: SIM118  # it cannot be iterated
        assert type(pool) is patches.POOLS["http"]
        (connection,) = (each for each in pool.pool.queue if each is not None)
        assert isinstance(connection, patches._Timed)


def test_another_library_under_the_name_of_urllib3_is_refused_when_a_client_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(patches, "HTTPConnection", type("HTTPConnection", (), {}))
    with pytest.raises(ImportError, match="another library"):
        oo.Client()


def test_only_our_own_queries_are_hidden(caplog: pytest.LogCaptureFixture) -> None:
    blocking.hide_queries()
    blocking.hide_queries()
    logger = logging.getLogger("urllib3.connectionpool")
    assert logger.filters.count(blocking._FILTER) == 1
    caplog.set_level(logging.DEBUG, "urllib3")
    for thread.sending in (True, False):
        logger.debug("%s %d", "/path?query", 7)
    assert [record.getMessage() for record in caplog.records] == ["/path 7", "/path?query 7"]
