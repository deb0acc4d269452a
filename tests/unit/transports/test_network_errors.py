"""What is said of a failure of the network."""

from __future__ import annotations

import errno
import os
import socket
import ssl

import pytest

import oo
from oo._client.operations import ClientContext
from oo._http.request import Request
from oo._http.urls import DEFAULT_BASE_URL
from oo.transports.network_errors import (
    causes,
    is_closed_connection,
    network_error,
    on_the_way,
    proxy_refusal,
)
from tests.support.faults import nobody
from tests.support.probing import TOKEN, failure
from tests.support.worlds import World


def request(url: str) -> Request:
    return Request("GET", url, context=ClientContext("secret", lambda response: response))


REFUSED = ConnectionRefusedError(errno.ECONNREFUSED, "a foreign text")


@pytest.mark.parametrize(
    ("url", "proxy", "hinted"),
    [
        (f"{DEFAULT_BASE_URL}/api/secret", None, True),
        (f"{DEFAULT_BASE_URL}/api/secret", "http://h:1", False),
        (f"{DEFAULT_BASE_URL}1/api/secret", None, False),
        ("http://localhost:3001/api/secret", None, False),
        ("http://127.0.0.1:3002/api/secret", None, False),
    ],
)
def test_the_hint_is_for_the_default_address_alone(url: str, proxy: str | None, hinted: bool) -> None:
    error = on_the_way(network_error(REFUSED), request(url), proxy)
    assert ("oo serve" in str(error)) is hinted
    assert str(error).startswith("connection refused")
    assert "foreign" not in str(error)


def test_another_failure_at_the_default_address_has_no_hint() -> None:
    error = on_the_way(network_error(ConnectionResetError(errno.ECONNRESET, "")), request(DEFAULT_BASE_URL + "/"), None)
    assert str(error) == os.strerror(errno.ECONNRESET).lower()


def test_a_client_of_another_address_has_no_hint(world: World) -> None:
    with nobody() as url:
        error = failure(lambda client: client.get_secret(TOKEN), world.client(url))
    assert "connection refused" in str(error)
    assert "oo serve" not in str(error)


@pytest.mark.parametrize(("status", "retryable"), [(403, False), (407, False), (301, False), (429, True), (503, True)])
def test_a_refusal_by_a_proxy(status: int, retryable: bool) -> None:
    error = on_the_way(proxy_refusal(status), request("https://api.example"), "http://u:p@proxy:1")
    assert (str(error), error.retryable) == (
        f"the proxy refused it ({status}) (through the proxy http://proxy:1)",
        retryable,
    )


@pytest.mark.parametrize(
    ("error", "closed"),
    [
        (ConnectionResetError(), True),
        (BrokenPipeError(), True),
        (ssl.SSLEOFError(), True),
        (OSError(ConnectionAbortedError()), True),
        (TimeoutError(), False),
        (socket.gaierror(), False),
        (ssl.SSLError(1, "x"), False),
        (ValueError(), False),
    ],
)
def test_a_closed_connection_is_known(error: BaseException, closed: bool) -> None:
    assert is_closed_connection(error) is closed


def test_causes_end_where_an_error_is_its_own() -> None:
    error = oo.DoubleOError("x")
    error.__cause__ = error
    assert list(causes(error)) == [error]
