"""Retries and several upstreams, over real servers."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest

import oo.testing
from oo.gateway.models import Upstream
from tests.integration.gateway.test_gateway import ask
from tests.support.faults import CLOSE, READ, answer, head, nobody, serving, unaccepting
from tests.support.waiting import PATIENCE

LocalGateway = oo.testing.LocalGateway
BUSY = answer(b"busy", b"Retry-After: 0", status=b"503 Busy")
CHUNKED = head(b"Transfer-Encoding: chunked", status=b"503 Busy") + b"4\r\nbusy\r\n0\r\n\r\n"


def scripted(*replies: bytes) -> Callable[[bytes], bytes]:
    rest = list(replies)
    return lambda _request: rest.pop(0)


@pytest.mark.parametrize("failure", [BUSY, CHUNKED])
@pytest.mark.parametrize(
    ("method", "key", "status", "sent"),
    [("GET", None, 200, 2), ("PUT", None, 200, 2), ("POST", "k", 200, 2), ("POST", None, 503, 1)],
)
def test_a_route_tries_again_what_may_be_repeated(
    gateway: LocalGateway, failure: bytes, method: str, key: str | None, status: int, sent: int
) -> None:
    with serving(reply=scripted(failure, answer(b"good"))) as server:
        token = gateway.route("r", server.url, retries=2)
        headers = {} if key is None else {"Idempotency_Key": key}
        got, _, body = ask(gateway.url, method, "/api/proxy/x", token, b"{}", **headers)
        assert (got, body, len(server.requests)) == (status, b"good" if sent == 2 else b"busy", sent)
        assert all(request.endswith(b"{}") for request in server.requests)


def test_a_token_pays_one_use_for_all_attempts(gateway: LocalGateway) -> None:
    with serving(reply=scripted(BUSY, BUSY, answer(b"good"))) as server:
        gateway.route("r", server.url, retries=2)
        token = gateway.issue("route", "r", uses=1)
        assert ask(gateway.url, "GET", "/api/proxy/x", token)[0] == 200
        assert ask(gateway.url, "GET", "/api/proxy/x", token)[0] == 401


def test_without_retries_and_with_them_used_up_the_upstreams_answer_is_the_callers(gateway: LocalGateway) -> None:
    for retries in (0, 1):
        with serving(reply=lambda _request: BUSY) as server:
            token = gateway.route("r", server.url, retries=retries)
            status, headers, body = ask(gateway.url, "GET", "/api/proxy/x", token)
            assert (status, body, headers["X-OO-Source"]) == (503, b"busy", "upstream")
            assert len(server.requests) == retries + 1


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_next_upstream_is_asked_where_no_connection_can_be_made(gateway: LocalGateway, method: str) -> None:
    with nobody() as down, serving() as server:
        token = gateway.route("r", down, others=(Upstream(f"{server.url}/base"),))
        assert [ask(gateway.url, method, "/api/proxy/x?a=1", token, b"{}")[0] for _ in range(8)] == [200] * 8
        assert all(request.startswith(f"{method} /base/x?a=1 ".encode()) for request in server.requests)


@pytest.mark.parametrize(("method", "status"), [("GET", 200), ("POST", 502)])
def test_a_connection_that_is_lost_is_the_next_ones_turn_for_what_may_be_repeated(
    gateway: LocalGateway, method: str, status: int
) -> None:
    with serving(*[[READ, CLOSE]] * 9) as losing, serving() as server:
        token = gateway.route("r", losing.url, weight=1000, others=(Upstream(server.url),))
        assert ask(gateway.url, method, "/api/proxy/x", token, b"{}")[0] == status
        assert len(server.requests) == (status == 200)


def test_one_that_fails_rests_and_the_others_serve(gateway: LocalGateway) -> None:
    with serving(reply=lambda _request: BUSY) as failing, serving() as server:
        token = gateway.route("r", failing.url, weight=1000, others=(Upstream(server.url),))
        assert [ask(gateway.url, "GET", "/api/proxy/x", token)[0] for _ in range(9)] == [200] * 9
        assert (len(failing.requests), len(server.requests)) == (5, 9)


def test_an_upstream_that_takes_no_connection_holds_nobody_for_the_whole_timeout(gateway: LocalGateway) -> None:
    with unaccepting() as full, serving() as server:
        token = gateway.route("r", full, weight=1000, others=(Upstream(server.url),), timeout=300.0)
        assert ask(gateway.url, "POST", "/api/proxy/x", token, b"{}")[0] == 200


def test_a_private_upstream_is_refused_wherever_it_stands(gateway: LocalGateway) -> None:
    with serving() as server:
        token = gateway.route("r", "https://nobody.invalid", others=(Upstream(server.url),), allow_private=False)
        status, _, body = ask(gateway.url, "GET", "/api/proxy/x", token)
        assert (status, server.connections) == (502, 0)
        assert "private" in str(body)


def test_a_small_body_that_comes_behind_its_head_is_sent_again(gateway: LocalGateway) -> None:
    with serving(reply=scripted(BUSY, answer(b"good"))) as server:
        token = gateway.route("r", server.url, retries=2)
        address = urlsplit(gateway.url)
        with socket.create_connection((str(address.hostname), int(address.port or 0)), PATIENCE) as sock:
            fields = f"Host: x\r\nAuthorization: Bearer {token}\r\nContent-Length: 2\r\n"
            sock.sendall(f"PUT /api/proxy/x HTTP/1.1\r\n{fields}\r\n{{".encode())
            time.sleep(0.05)
            sock.sendall(b"}")
            assert sock.recv(65536).startswith(b"HTTP/1.1 200 ")
        assert [request.endswith(b"{}") for request in server.requests] == [True, True]
